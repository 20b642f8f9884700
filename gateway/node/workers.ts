import type { GatewayConfig } from '../config/config.ts';
import type { WorkerLog } from '../config/worker-logs.ts';
import type { Clock } from '../core/clock.ts';
import type { DeviceNews } from '../exchange/device-checks.ts';
import type { Ending } from '../exchange/revoke.ts';
import type { Emit } from '../telemetry/events.ts';
import { mergeSnapshots, remains } from '../telemetry/merged-metrics.ts';
import type { FamilySnapshot } from '../telemetry/metrics.ts';
import type { Credentials } from './credentials.ts';
import type { PolicyFiles, ShadowFiles, ToWorker, WorkerData } from './messages.ts';
import type { ThreatTables } from '../trust/threat.ts';
import { Watchdog } from './watchdog.ts';
import { WorkerThread } from './worker-thread.ts';

/** Pauses before a worker that ended unasked gets a successor: the first is short, the last of them long. */
const PAUSES_MS = [50, 500, 2_000, 5_000, 10_000];
/** Who lived so long did not die of its start. */
const SETTLED_MS = 60_000;
/** Rounds of housekeeping without an answer after which a worker is taken for dead. */
const SILENT_ROUNDS = 30;
/** What an orderly stop may take beyond the time for running exchanges. */
const STOP_MARGIN_MS = 10_000;
/** To load and record another policy, or to change keys. A worker that hangs is found by the watchdog or by housekeeping. */
const SWITCH_MS = 30_000;
const OVERDUE = 'it did not stop';

export interface WorkersOptions {
  readonly config: GatewayConfig;
  readonly logs: readonly WorkerLog[];
  readonly clock: Clock;
  readonly nanoseconds: () => bigint;
  readonly emit: Emit;
  readonly lines: (lines: string) => void;
  /** What a worker that begins now begins with. */
  readonly data: () => Omit<WorkerData, 'worker' | 'log' | 'mark'>;
  readonly onQuarantine: (peer: string) => void;
  /** Evaluations of a bundle overran or failed; told before the worker's successor asks for `data`. */
  readonly onPolicyTrouble: (bundle: string, detail: string) => void;
  /** A worker that cannot be kept alive: the process has to end. */
  readonly onFatal: (detail: string) => void;
}

interface Seat {
  readonly worker: number;
  readonly log: WorkerLog;
  thread: WorkerThread;
  /** Its policy was set apart when it began. */
  idle: boolean;
  beganAt: number;
  deaths: number;
  silent: number;
  pause: NodeJS.Timeout | undefined;
  /** Counts of its predecessors, and its own as they were read last. */
  left: FamilySnapshot[];
  latest: FamilySnapshot[];
}

/** The workers of a gateway: starts them, watches over them, replaces those that end, and asks all of them. */
export class Workers {
  readonly #options: WorkersOptions;
  readonly #watchdog: Watchdog;
  readonly #seats: Seat[];
  readonly #watching: NodeJS.Timeout;
  #stopping = false;
  #lost = 0;

  private constructor(options: WorkersOptions) {
    this.#options = options;
    this.#watchdog = new Watchdog(options.config.limits.policyMs, options.nanoseconds);
    this.#seats = options.logs.map((log, i) => ({
      worker: i + 1,
      log,
      thread: this.#spawn(i + 1, log),
      idle: false,
      beganAt: options.clock.monotonic(),
      deaths: 0,
      silent: 0,
      pause: undefined,
      left: [],
      latest: [],
    }));
    this.#watching = setInterval(() => this.#watch(), this.#watchdog.everyMs).unref();
  }

  /**
   * Resolves when all doors are open. None opens before every log is recovered: a copy of a message that one of them has
   * seen could come in at another.
   * @throws ConfigError, Error what kept one of them from beginning; then all are gone
   */
  static async start(options: WorkersOptions): Promise<{ workers: Workers; linkPort: number }> {
    const workers = new Workers(options);
    const threads = workers.#seats.map(({ thread }) => thread);
    try {
      await Promise.all(threads.map(({ recovered }) => recovered));
      workers.#tellAll({ kind: 'open' });
      const [linkPort = 0] = await Promise.all(threads.map(({ opened }) => opened));
      for (const seat of workers.#seats) workers.#attend(seat);
      return { workers, linkPort };
    } catch (cause) {
      clearInterval(workers.#watching);
      for (const thread of threads) thread.end('another worker could not begin');
      await Promise.all(threads.map(({ gone }) => gone));
      throw cause;
    }
  }

  /** Threads that carry exchanges, and how many were lost so far. */
  get count(): { readonly open: number; readonly lost: number } {
    return { open: this.#seats.filter(({ thread }) => thread.isOpen).length, lost: this.#lost };
  }

  /** Why not every worker admits exchanges; each reason with the worker when there are several. */
  async reasons(): Promise<string[]> {
    const each = await Promise.all(this.#seats.map(async (seat) => this.#reasonsOf(seat)));
    return each.flatMap((reasons, i) =>
      this.#seats.length === 1 ? reasons : reasons.map((reason) => `worker ${i + 1}: ${reason}`),
    );
  }

  async #reasonsOf({ thread, idle }: Seat): Promise<readonly string[]> {
    if (thread.isEnding) return ['it has ended and is being replaced'];
    if (!thread.isOpen && !idle) return ['it is starting'];
    return (await thread.ask('status', {}))?.reasons ?? ['it does not answer'];
  }

  async inFlight(): Promise<number> {
    const each = await Promise.all(this.#seats.map(({ thread }) => thread.ask('status', {})));
    return each.reduce((sum, status) => sum + (status?.inFlight ?? 0), 0);
  }

  /** Of all workers there are and were. Of one that does not answer, as they were before. */
  async metrics(): Promise<FamilySnapshot[]> {
    await Promise.all(
      this.#seats.map(async (seat) => {
        const { thread } = seat;
        const snapshot = await thread.ask('metrics', {});
        // It may have been replaced meanwhile, and its last counts be put away.
        if (snapshot !== undefined && seat.thread === thread && !thread.isGone) seat.latest = snapshot;
      }),
    );
    return mergeSnapshots(this.#seats.flatMap(({ left, latest }) => [left, latest]));
  }

  /** Latest signed note of a worker's log. @param worker from 1. @returns undefined when it cannot be had now */
  checkpoint(worker: number): Promise<string | undefined> {
    return this.#seats[worker - 1]?.thread.ask('checkpoint', {}) ?? Promise.resolve(undefined);
  }

  /** Resolves with the number of exchanges broken off, when in no worker anything runs that the event voids. */
  async end(ending: Ending): Promise<number> {
    if (ending.effect !== 'ended') return 0;
    const ended = await Promise.all(
      // A worker that is not open yet does it before it opens. One that hangs is ended by the watchdog or by housekeeping.
      this.#seats.map(({ thread }) => {
        const done = thread.ask('end', { ending }, 2 ** 31 - 1);
        return thread.isOpen ? done : Promise.resolve(0);
      }),
    );
    return ended.reduce<number>((sum, count) => sum + (count ?? 0), 0);
  }

  takeRegistry(bytes: Uint8Array): void {
    this.#tellAll({ kind: 'registry', bytes });
  }

  /**
   * Another policy: workers that stood idle open their doors. Resolves when each decides with it, or is gone: its
   * successor begins with it.
   * @returns the longest pause of any of their event loops, milliseconds
   */
  async takePolicy(policy: PolicyFiles): Promise<number> {
    const switched = this.#seats.map(({ thread }) => thread.ask('policy', { policy }, SWITCH_MS));
    for (const seat of this.#seats) {
      if (seat.idle) seat.thread.tell({ kind: 'open' });
      seat.idle = false;
    }
    const pauses = await Promise.all(switched);
    return Math.max(...pauses.map((pause) => pause ?? 0));
  }

  /** Resolves when each shows and signs with them, or is gone: its successor begins with them. */
  async takeCredentials(credentials: Credentials): Promise<void> {
    await Promise.all(this.#seats.map(({ thread }) => thread.ask('credentials', { credentials }, SWITCH_MS)));
  }

  takeShadows(shadows: readonly ShadowFiles[]): void {
    this.#tellAll({ kind: 'shadows', shadows });
  }

  takeThreat(tables: ThreatTables): void {
    this.#tellAll({ kind: 'threat', tables });
  }

  setApart(peer: string): void {
    this.#tellAll({ kind: 'quarantine', peer });
  }

  /** What an attestation service has taken back, as it signed it. */
  takeDeviceList(text: string): void {
    this.#tellAll({ kind: 'deviceList', text });
  }

  /** To be called every second. */
  async keepHouse(): Promise<void> {
    await Promise.all(
      this.#seats.map(async (seat) => {
        const { thread } = seat;
        if (!thread.isOpen) return;
        const status = await thread.ask('status', {});
        seat.silent = status === undefined ? seat.silent + 1 : 0;
        if (seat.silent >= SILENT_ROUNDS) thread.end('it did not answer any more');
      }),
    );
  }

  /** @returns false when one had to be ended */
  async stop(): Promise<boolean> {
    this.#stopping = true;
    const { drainMs } = this.#options.config.limits;
    const stopped = await Promise.all(
      this.#seats.map(async ({ thread, pause }) => {
        clearTimeout(pause);
        thread.tell({ kind: 'stop' });
        const overdue = setTimeout(() => thread.end(OVERDUE), drainMs + STOP_MARGIN_MS);
        const why = await thread.gone;
        clearTimeout(overdue);
        return why !== OVERDUE;
      }),
    );
    clearInterval(this.#watching);
    return stopped.every(Boolean);
  }

  #tellAll(message: ToWorker): void {
    for (const { thread } of this.#seats) thread.tell(message);
  }

  #tellOthers(but: number, message: ToWorker): void {
    for (const { worker, thread } of this.#seats) if (worker !== but) thread.tell(message);
  }

  #spawn(worker: number, log: WorkerLog): WorkerThread {
    const { data, lines, onQuarantine, onPolicyTrouble } = this.#options;
    const policyFailing = (bundle: string, detail: string): void =>
      onPolicyTrouble(bundle, `worker ${worker}: ${detail}`);
    const device = (news: DeviceNews): void => this.#tellOthers(worker, { kind: 'device', news });
    const events = { lines, quarantine: onQuarantine, policyFailing, device };
    return new WorkerThread({ ...data(), worker, log }, events);
  }

  #watch(): void {
    for (const { worker, thread } of this.#seats) {
      if (thread.isEnding || !this.#watchdog.overruns(thread.mark)) continue;
      const detail = `an evaluation of the policy overran ${this.#options.config.limits.policyMs} ms`;
      // First the end: a worker that hangs cannot be told of another policy.
      thread.end(detail);
      this.#options.onPolicyTrouble(thread.mark.bundle, `worker ${worker}: ${detail}`);
    }
  }

  /** Waits for the end of the thread on the seat, and sees to its successor. */
  #attend(seat: Seat): void {
    const { clock, emit, onFatal } = this.#options;
    void seat.thread.gone.then((why) => {
      if (this.#stopping) return;
      const { worker } = seat;
      this.#lost += 1;
      seat.left = mergeSnapshots([seat.left, remains(seat.latest)]);
      seat.latest = [];
      emit('worker.lost', { worker, detail: why });
      const settled = clock.monotonic() - seat.beganAt > SETTLED_MS;
      const pause = PAUSES_MS[settled ? 0 : seat.deaths];
      seat.deaths = settled ? 1 : seat.deaths + 1;
      if (pause === undefined) onFatal(`worker ${worker} ended ${seat.deaths} times in a row, last: ${why}`);
      else seat.pause = setTimeout(() => this.#replace(seat), pause);
    });
  }

  #replace(seat: Seat): void {
    const { clock, emit, data } = this.#options;
    const { worker, log } = seat;
    const began = clock.monotonic();
    seat.beganAt = began;
    seat.silent = 0;
    seat.thread = this.#spawn(worker, log);
    this.#attend(seat);
    // While others decide, one that could only refuse stays out of their way; alone it says why it refuses.
    seat.idle = data().policy.apart && this.#seats.some(({ thread, idle }) => thread.isOpen && !idle);
    if (!seat.idle) seat.thread.tell({ kind: 'open' });
    const ready = seat.idle ? seat.thread.recovered : seat.thread.opened;
    ready.then(
      () => emit('worker.replaced', { worker, elapsedMs: Math.round(clock.monotonic() - began) }),
      () => undefined, // told by its end
    );
  }
}
