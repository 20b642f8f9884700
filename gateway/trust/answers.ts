import type { Answer } from './decision.ts';
import type { PolicyInput } from './input.ts';

/** UTF-16 units of questions and answers kept at most; some hundred questions. */
const MAX_UNITS = 1 << 20;

/**
 * Answers of one policy to questions it was asked before. A policy computes from its input alone (module-abi.ts: it can
 * ask for neither time nor chance), and the input names the second; so exchanges of one second that differ in nothing
 * but their id get the same answer, with their own id in it. A policy that makes more of the id than an echo is answered
 * by a replay of the log: the digest of what it would have said differs.
 */
export class Answers {
  readonly #known = new Map<string, Answer>();
  #units = 0;

  /** Undefined when it has to be asked. */
  recall({ question }: PolicyInput): Answer | undefined {
    return this.#known.get(question);
  }

  keep({ question }: PolicyInput, answer: Answer): void {
    const units = question.length + answer.units;
    this.#units += units;
    // Old questions are those of past seconds: nobody asks them again, and the present ones are soon asked anew.
    if (this.#units > MAX_UNITS) {
      this.#known.clear();
      this.#units = units;
    }
    this.#known.set(question, answer);
  }
}
