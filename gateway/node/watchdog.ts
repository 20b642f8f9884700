const DIGEST_BYTES = 32;
/** Looks at a mark in one deadline. */
const LOOKS = 5;

/**
 * When the policy evaluation under way in one worker began, in memory that the main thread reads: the worker itself
 * cannot notice that it does not come back.
 */
export class EvaluationMark {
  readonly memory: SharedArrayBuffer;
  readonly #began: BigInt64Array;
  readonly #bundle: Uint8Array;

  constructor(memory = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT + DIGEST_BYTES)) {
    this.memory = memory;
    this.#began = new BigInt64Array(memory, 0, 1);
    this.#bundle = new Uint8Array(memory, BigInt64Array.BYTES_PER_ELEMENT);
  }

  /** Digest of the bundle that is evaluated: not set while an evaluation is under way. */
  get bundle(): string {
    return Buffer.from(this.#bundle).toString('base64url');
  }

  set bundle(digest: string) {
    this.#bundle.set(Buffer.from(digest, 'base64url'));
  }

  /** @param at nanoseconds, never 0 */
  begin(at: bigint): void {
    Atomics.store(this.#began, 0, at);
  }

  end(): void {
    Atomics.store(this.#began, 0, 0n);
  }

  /** 0: none is under way. */
  get began(): bigint {
    return Atomics.load(this.#began, 0);
  }
}

/** Finds evaluations that overrun, in the main thread. */
export class Watchdog {
  /** How often to look, milliseconds. */
  readonly everyMs: number;
  readonly #deadline: bigint;
  readonly #nanoseconds: () => bigint;
  readonly #looks = new WeakMap<EvaluationMark, { began: bigint; looks: number }>();

  constructor(deadlineMs: number, nanoseconds: () => bigint) {
    this.everyMs = Math.max(10, Math.floor(deadlineMs / LOOKS));
    this.#deadline = BigInt(Math.round(deadlineMs * 1e6));
    this.#nanoseconds = nanoseconds;
  }

  /**
   * Over the deadline, and seen at so many looks: a process that was stopped as a whole (SIGSTOP, a frozen machine) finds
   * its evaluations old, and they are not to blame.
   */
  overruns(mark: EvaluationMark): boolean {
    const { began } = mark;
    if (began === 0n) return false;
    const before = this.#looks.get(mark);
    const looks = before?.began === began ? before.looks + 1 : 1;
    this.#looks.set(mark, { began, looks });
    return looks >= LOOKS - 1 && this.#nanoseconds() - began > this.#deadline;
  }
}
