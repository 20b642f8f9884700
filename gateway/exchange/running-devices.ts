import type { Clock, EpochMs } from '../core/clock.ts';
import { Denied } from '../core/errors.ts';
import { Roster, type Place } from '../core/passing.ts';
import type { EndpointDevice, NodeDevice } from '../device/attested-device.ts';
import type { DeviceMinimum } from '../device/demand.ts';
import type { DeviceRegister } from '../device/register.ts';

export type Machine = EndpointDevice | NodeDevice;
type End = (cause: Denied) => void;

export interface RunningOptions {
  /** Name of the gateway that relies on our word for the machine. */
  readonly at?: string | undefined;
  /** Told of each newer result that the exchange goes on with. */
  readonly renewed?: (machine: Machine) => void;
}

/** One exchange under way. */
interface Running {
  /** What it lives by, and its place there; undefined once it is over. */
  lease: Lease | undefined;
  place: Place | undefined;
  /** What the agreement demands; undefined when it demands nothing. */
  readonly minimum: DeviceMinimum | undefined;
  readonly options: RunningOptions;
  readonly end: End;
}

/** What lives by one result: watched and timed once for all of it. */
interface Lease {
  readonly key: string;
  readonly machine: Machine;
  readonly running: Roster<Running>;
  readonly unwatch: () => void;
  readonly timer: NodeJS.Timeout;
}

/** setTimeout takes no more; results live for minutes. */
const LONGEST_MS = 2 ** 31 - 1;

/** So many leases are kept at least, for the next exchange, that nothing lives by. */
const MIN_KEPT = 256;

const NO_OPTIONS: RunningOptions = {};

/**
 * Exchanges under way by the machines they run for. What was granted ends with the result it was granted on: when that
 * expires unrenewed, is taken back, or is followed by a worse one.
 */
export class RunningDevices {
  readonly #register: DeviceRegister;
  readonly #clock: Clock;
  readonly #leases = new Map<Machine, Lease>();
  /** Several connections of a machine may carry the same result, each proved for itself. */
  readonly #byMachine = new Map<string, Set<Lease>>();
  /** At so many the idle ones are given up. */
  #sweepAt = MIN_KEPT;

  constructor(register: DeviceRegister, clock: Clock) {
    this.#register = register;
    this.#clock = clock;
  }

  /**
   * @param end breaks the exchange off; called at most once
   * @returns to be called when the exchange is over
   */
  register(
    machine: Machine,
    minimum: DeviceMinimum | undefined,
    end: End,
    options: RunningOptions = NO_OPTIONS,
  ): () => void {
    const running: Running = { lease: undefined, place: undefined, minimum, options, end };
    this.#join(running, machine);
    return () => this.#leave(running);
  }

  get size(): number {
    let size = 0;
    for (const { running } of this.#leases.values()) size += running.size;
    return size;
  }

  /** Does anything run on that machine at that gateway? */
  runsAt(peer: string, machine: Machine): boolean {
    for (const { running } of this.#byMachine.get(keyOf(machine)) ?? [])
      for (const { options } of running.list()) if (options.at === peer) return true;
    return false;
  }

  /**
   * A newer result of a machine came: what runs on an older one goes on with this, if it is good enough.
   * @returns names of the gateways that have to hear of it
   */
  renewed(machine: Machine): ReadonlySet<string> {
    const peers = new Set<string>();
    if (!isCurrent(machine, this.#clock.now())) return peers;
    for (const lease of [...(this.#byMachine.get(keyOf(machine)) ?? [])]) {
      if (!machine.isNewerThan(lease.machine)) continue;
      for (const running of lease.running.list()) {
        if (running.lease !== lease) continue; // was over while others were told
        this.#leave(running);
        try {
          if (running.minimum !== undefined) machine.requireAtLeast(running.minimum);
        } catch (thrown) {
          if (!(thrown instanceof Denied)) throw thrown;
          running.end(thrown);
          continue;
        }
        this.#join(running, machine);
        const { at, renewed } = running.options;
        renewed?.(machine);
        if (at !== undefined) peers.add(at);
      }
      this.#drop(lease);
    }
    return peers;
  }

  #join(running: Running, machine: Machine): void {
    const lease = this.#leases.get(machine) ?? this.#open(machine);
    running.lease = lease;
    running.place = lease.running.add(running);
  }

  #leave(running: Running): void {
    running.place?.leave();
    running.lease = undefined;
  }

  #open(machine: Machine): Lease {
    if (this.#leases.size >= this.#sweepAt) this.#sweep();
    const end = (cause: Denied): void => this.#end(lease, cause);
    const timer = setTimeout(
      () => {
        // By the wall clock, which may have been set back: then the result is refused for another reason, and this still holds.
        end(new Denied('device.expired', `${machine.device}: not renewed`));
      },
      remaining(machine, this.#clock.now()),
    );
    timer.unref();
    const lease: Lease = {
      key: keyOf(machine),
      machine,
      running: new Roster(),
      unwatch: this.#register.watch(machine, end),
      timer,
    };
    this.#leases.set(machine, lease);
    const ofMachine = this.#byMachine.get(lease.key);
    if (ofMachine === undefined) this.#byMachine.set(lease.key, new Set([lease]));
    else ofMachine.add(lease);
    return lease;
  }

  #end(lease: Lease, cause: Denied): void {
    this.#drop(lease);
    for (const running of lease.running.list()) {
      if (running.lease !== lease) continue; // was over while others were ended
      this.#leave(running);
      running.end(cause);
    }
  }

  /** Bounded memory: as many leases again as something lives by may be idle. */
  #sweep(): void {
    for (const lease of [...this.#leases.values()]) if (lease.running.size === 0) this.#drop(lease);
    this.#sweepAt = Math.max(MIN_KEPT, 2 * this.#leases.size);
  }

  #drop(lease: Lease): void {
    clearTimeout(lease.timer);
    lease.unwatch();
    if (this.#leases.get(lease.machine) === lease) this.#leases.delete(lease.machine);
    const ofMachine = this.#byMachine.get(lease.key);
    ofMachine?.delete(lease);
    if (ofMachine?.size === 0) this.#byMachine.delete(lease.key);
  }
}

/** Not expired, and nothing newer is known. */
export function isCurrent(machine: Machine, now: EpochMs): boolean {
  try {
    machine.requireCurrent(now);
    return true;
  } catch (thrown) {
    if (!(thrown instanceof Denied)) throw thrown;
    return false;
  }
}

const remaining = (machine: Machine, now: EpochMs): number =>
  Math.min(LONGEST_MS, Math.max(0, machine.expiresAtMs - now));

/** One machine, on one certificate, for one audience: results for others say nothing about this connection. */
const keyOf = ({ issuer, device, audience, certificate }: Machine): string =>
  `${issuer}\n${device}\n${audience}\n${certificate}`;
