import type { Clock } from '../core/clock.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { EvidenceLog } from '../evidence/log.ts';
import type { ShadowDecision, ShadowFacts } from '../evidence/record.ts';
import type { Emit } from '../telemetry/events.ts';
import type { ShadowCounts } from '../telemetry/gateway-metrics.ts';
import type { Bundle } from '../trust/bundle.ts';
import type { Decision } from '../trust/decision.ts';
import { BundleThread } from './bundle-thread.ts';
import type { ShadowFiles } from './messages.ts';
import type { Evaluated } from './policy-thread-messages.ts';
import { Watchdog } from './watchdog.ts';

// The bound that is stated (docs/policy-tools.md): of one shadow the path of a message sees the time to put a decision into a
// list, and every 100 ms at most one message to its thread with the inputs of up to 64 and one record of their outcome.
// Its thread computes for at most a quarter of the time; what does not fit into the list is counted and not evaluated.

/** How long decisions are collected, milliseconds. */
const COLLECT_MS = 100;
const BATCH = 64;
/** What waits at most. Inputs of some 2 KB: half a megabyte, and never more than these bytes. */
const WAITING = 256;
const WAITING_BYTES = 4 << 20;
/** Its thread rests so many times as long as it computed. */
const REST = 3;
/** Far above any evaluation that could be put in force. */
const DEADLINE_MS = 250;
/** Threads of it that were lost before it is given up. */
const MAX_LOST = 5;
/** Label sets of one bundle, so that a bundle with thousands of reasons does not fill the page. */
const MAX_SERIES = 64;

export interface ShadowOptions {
  readonly clock: Clock;
  readonly nanoseconds: () => bigint;
  readonly log: Pick<EvidenceLog, 'append'>;
  readonly emit: Emit;
  readonly counts: ShadowCounts;
}

interface Waiting {
  readonly exchange: ExchangeId;
  readonly decision: Decision;
}

/** One bundle in the shadow: its thread, what waits for it, and what it said. */
export class Shadow {
  readonly digest: string;
  readonly #files: ShadowFiles;
  readonly #revision: string;
  readonly #expiresAt: number;
  readonly #options: ShadowOptions;
  readonly #watchdog: Watchdog;
  readonly #timer: NodeJS.Timeout;
  readonly #watching: NodeJS.Timeout;
  #thread: BundleThread | undefined;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #asked: readonly Waiting[] = [];
  #restUntil = 0;
  #lost = 0;
  #closed = false;
  readonly #series = new Set<string>();

  constructor(files: ShadowFiles, { digest, revision }: Bundle, expiresAt: number, options: ShadowOptions) {
    this.digest = digest;
    this.#files = files;
    this.#revision = revision;
    this.#expiresAt = expiresAt;
    this.#options = options;
    this.#watchdog = new Watchdog(DEADLINE_MS, options.nanoseconds);
    this.#timer = setInterval(() => this.#flush(), COLLECT_MS).unref();
    this.#watching = setInterval(() => this.#watch(), this.#watchdog.everyMs).unref();
  }

  offer(exchange: ExchangeId, decision: Decision): void {
    const bytes = decision.inputBytes.length;
    if (this.#waiting.length >= WAITING || this.#waitingBytes + bytes > WAITING_BYTES)
      return this.#count('dropped');
    this.#waiting.push({ exchange, decision });
    this.#waitingBytes += bytes;
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    clearInterval(this.#watching);
    this.#drop();
    this.#thread?.end('it is no shadow any more');
    this.#thread = undefined;
  }

  #flush(): void {
    const { clock } = this.#options;
    if (this.#waiting.length === 0 || this.#asked.length > 0 || clock.monotonic() < this.#restUntil) return;
    if (this.#lost >= MAX_LOST || clock.now() >= this.#expiresAt) return this.#drop();
    this.#thread ??= new BundleThread(this.#files, {
      told: (results, tookMs) => this.#told(results, tookMs),
      gone: (why) => this.#gone(why),
    });
    this.#asked = this.#waiting.splice(0, BATCH);
    const lengths = this.#asked.map(({ decision }) => decision.inputBytes.length);
    const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
    let at = 0;
    for (const { decision } of this.#asked) {
      bytes.set(decision.inputBytes, at);
      at += decision.inputBytes.length;
    }
    this.#waitingBytes -= bytes.length;
    this.#thread.ask({ bytes, lengths });
  }

  #told(results: readonly Evaluated[], tookMs: number): void {
    if (this.#closed) return;
    const asked = this.#asked;
    this.#asked = [];
    this.#lost = 0;
    this.#restUntil = this.#options.clock.monotonic() + REST * tookMs;
    const same: ExchangeId[] = [];
    const other: ShadowDecision[] = [];
    const failed: ShadowFacts['failed'][number][] = [];
    for (const [i, { exchange: x, decision }] of asked.entries()) {
      const result = results[i] ?? { failed: 'no answer' };
      if ('failed' in result) {
        failed.push({ x, why: result.failed });
        this.#count('failed');
      } else if (result.resultDigest === decision.resultDigest) {
        same.push(x);
        this.#count('same');
      } else {
        const { allow, reasons, tier, score, resultDigest: o } = result;
        other.push({ x, o, allow, tier, score, reasons });
        const outcome = allow === decision.allow ? 'other' : allow ? 'allows' : 'denies';
        this.#count(outcome, (allow ? decision.reasons : reasons)[0]);
      }
    }
    this.#record({ same, other, failed });
  }

  /** Its thread has ended, and with it what it was asked: the first of it may be to blame. */
  #gone(why: string): void {
    if (this.#closed) return;
    this.#thread = undefined;
    this.#lost += 1;
    const asked = this.#asked;
    this.#asked = [];
    this.#restUntil = this.#options.clock.monotonic() + REST * DEADLINE_MS * 2 ** this.#lost;
    this.#record({ same: [], other: [], failed: asked.map(({ exchange: x }) => ({ x, why })) });
    for (let i = 0; i < asked.length; i += 1) this.#count('failed');
    const end = this.#lost < MAX_LOST ? '' : '; it is not evaluated any more';
    this.#options.emit('policy.problem', { detail: `shadow ${this.#revision}: ${why}${end}` });
  }

  #watch(): void {
    const thread = this.#thread;
    if (thread !== undefined && this.#watchdog.overruns(thread.mark))
      thread.end(`an evaluation overran ${DEADLINE_MS} ms`);
  }

  #record(facts: Omit<ShadowFacts, 'bundle'>): void {
    const { log, clock } = this.#options;
    // A log that cannot take this has already turned readiness off.
    log.append({ k: 'shadow', at: clock.now(), bundle: this.digest, ...facts }).catch(() => undefined);
  }

  #drop(): void {
    for (let i = 0; i < this.#waiting.length; i += 1) this.#count('dropped');
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  /** @param reason why one of the two denies, when they disagree about that */
  #count(outcome: 'same' | 'allows' | 'denies' | 'other' | 'failed' | 'dropped', reason = ''): void {
    const known = this.#series.has(reason) || this.#series.size < MAX_SERIES;
    if (known) this.#series.add(reason);
    this.#options.counts.add({ bundle: this.digest, outcome, reason: known ? reason : 'more' });
  }
}
