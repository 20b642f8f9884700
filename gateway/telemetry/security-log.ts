import type { Clock } from '../core/clock.ts';
import type { RefusalCode } from '../core/refusals.ts';
import type { Emit } from './events.ts';

export interface SecurityLogLimits {
  /** Length of one window, milliseconds. */
  readonly windowMs: number;
  /** Lines for one address in one window; the rest is counted. */
  readonly linesPerAddress: number;
  /** Lines in one window for all addresses together. */
  readonly lines: number;
  /** Addresses told apart in one window. More are counted as one: a flood from everywhere needs no more memory. */
  readonly addresses: number;
}

const LIMITS: SecurityLogLimits = Object.freeze({
  windowMs: 10_000,
  linesPerAddress: 5,
  lines: 200,
  addresses: 1024,
});

const OTHERS = 'others';
/** How many addresses the summary of a window names. */
const NAMED = 10;

/**
 * Refusals of peers that nobody has identified: anyone can cause them at any rate, so what is written is bounded per
 * address and in all, and what was left out is summed up when its window ends.
 */
export class SecurityLog {
  readonly #emit: Emit;
  readonly #clock: Clock;
  readonly #limits: SecurityLogLimits;
  #windowStart: number;
  #lines = 0;
  readonly #written = new Map<string, number>();
  readonly #suppressed = new Map<string, number>();

  constructor(emit: Emit, clock: Clock, limits: Partial<SecurityLogLimits> = {}) {
    this.#emit = emit;
    this.#clock = clock;
    this.#limits = { ...LIMITS, ...limits };
    this.#windowStart = clock.monotonic();
  }

  /** @param detail bounded and quoted text, for the operator only */
  refused(code: RefusalCode, address: string, detail: string): void {
    this.tick();
    const known = this.#written.has(address) || this.#written.size < this.#limits.addresses;
    const key = known ? address : OTHERS;
    const before = this.#written.get(key) ?? 0;
    this.#written.set(key, before + 1);
    if (before < this.#limits.linesPerAddress && this.#lines < this.#limits.lines) {
      this.#lines += 1;
      this.#emit('security.refused', { code, address, detail });
    } else {
      this.#suppressed.set(key, (this.#suppressed.get(key) ?? 0) + 1);
    }
  }

  /** Ends the window when its time is over. Called with every refusal, and now and then by a timer. */
  tick(): void {
    if (this.#clock.monotonic() - this.#windowStart >= this.#limits.windowMs) this.flush();
  }

  /** Sums up what was left out, and starts a new window. */
  flush(): void {
    if (this.#suppressed.size > 0) {
      const all = [...this.#suppressed].map(([address, refusals]) => ({ address, refusals }));
      this.#emit('security.suppressed', {
        refusals: all.reduce((sum, { refusals }) => sum + refusals, 0),
        addresses: all.length,
        most: all.toSorted((a, b) => b.refusals - a.refusals).slice(0, NAMED),
      });
    }
    this.#windowStart = this.#clock.monotonic();
    this.#lines = 0;
    this.#written.clear();
    this.#suppressed.clear();
  }
}
