import type { Emit } from './events.ts';

/** Writes a line when readiness changes, not each time somebody asks. */
export class ReadinessLog {
  readonly #emit: Emit;
  #told: string | undefined;

  constructor(emit: Emit) {
    this.#emit = emit;
  }

  /** @param reasons why nothing is admitted, or not everywhere; empty when ready */
  tell(reasons: readonly string[]): void {
    const text = reasons.join('; ');
    if (text === this.#told) return;
    this.#told = text;
    if (text === '') this.#emit('gateway.ready', {});
    else this.#emit('gateway.not_ready', { reasons });
  }
}
