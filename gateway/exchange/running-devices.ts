import type { Clock, EpochMs } from '../core/clock.ts';
import { Denied } from '../core/errors.ts';
import { Roster } from '../core/passing.ts';
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

/** One exchange under way, and what it may live by. */
interface Running {
  machine: Machine;
  /** What the agreement demands; undefined when it demands nothing. */
  readonly minimum: DeviceMinimum | undefined;
  readonly options: RunningOptions;
  readonly end: End;
  unwatch: () => void;
  timer: NodeJS.Timeout;
}

/** setTimeout takes no more; results live for minutes. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * Exchanges under way by the machines they run for. What was granted ends with the result it was granted on: when that
 * expires unrenewed, is taken back, or is followed by a worse one.
 */
export class RunningDevices {
  readonly #register: DeviceRegister;
  readonly #clock: Clock;
  readonly #byMachine = new Map<string, Roster<Running>>();

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
    options: RunningOptions = {},
  ): () => void {
    const key = keyOf(machine);
    const all = this.#byMachine.get(key) ?? new Roster<Running>();
    this.#byMachine.set(key, all);
    let over = false;
    const finish = (): void => {
      over = true;
      clearTimeout(running.timer);
      running.unwatch();
      place.leave();
      if (all.size === 0 && this.#byMachine.get(key) === all) this.#byMachine.delete(key);
    };
    const running: Running = {
      machine,
      minimum,
      options,
      end: (cause) => {
        if (over) return;
        finish();
        end(cause);
      },
      ...this.#lease(machine, (cause) => running.end(cause)),
    };
    const place = all.add(running);
    return finish;
  }

  get size(): number {
    let size = 0;
    for (const all of this.#byMachine.values()) size += all.size;
    return size;
  }

  /** Does anything run on that machine at that gateway? */
  runsAt(peer: string, machine: Machine): boolean {
    return (
      this.#byMachine
        .get(keyOf(machine))
        ?.list()
        .some(({ options }) => options.at === peer) ?? false
    );
  }

  /**
   * A newer result of a machine came: what runs on an older one goes on with this, if it is good enough.
   * @returns names of the gateways that have to hear of it
   */
  renewed(machine: Machine): ReadonlySet<string> {
    const peers = new Set<string>();
    if (!isCurrent(machine, this.#clock.now())) return peers;
    for (const running of this.#byMachine.get(keyOf(machine))?.list() ?? []) {
      if (!machine.isNewerThan(running.machine)) continue;
      try {
        if (running.minimum !== undefined) machine.requireAtLeast(running.minimum);
      } catch (thrown) {
        if (!(thrown instanceof Denied)) throw thrown;
        running.end(thrown);
        continue;
      }
      clearTimeout(running.timer);
      running.unwatch();
      running.machine = machine;
      Object.assign(running, this.#lease(machine, running.end));
      const { at, renewed } = running.options;
      renewed?.(machine);
      if (at !== undefined) peers.add(at);
    }
    return peers;
  }

  #lease(machine: Machine, end: End): Pick<Running, 'unwatch' | 'timer'> {
    const timer = setTimeout(() => this.#expired(machine, end), remaining(machine, this.#clock.now()));
    timer.unref();
    return { timer, unwatch: this.#register.watch(machine, end) };
  }

  #expired(machine: Machine, end: End): void {
    // By the wall clock, which may have been set back: then the result is refused for another reason, and this still holds.
    end(new Denied('device.expired', `${machine.device}: not renewed`));
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
