import type { PolicyInput } from './input.ts';

/** UTF-16 units of questions and answers kept at most; some hundred questions. */
const MAX_UNITS = 1 << 20;

/** An answer around the id that it echoes. */
type Around = readonly [before: string, behind: string];

/**
 * Answers of one policy to questions it was asked before. A policy computes from its input alone (module-abi.ts: it can
 * ask for neither time nor chance), and the input names the second; so exchanges of one second that differ in nothing
 * but their id get the same answer, with their own id in it. A policy that makes more of the id than an echo is answered
 * by a replay of the log: the digest of what it would have said differs.
 */
export class Answers {
  readonly #known = new Map<string, Around>();
  #units = 0;

  /** Text of the result set, or undefined when it has to be asked. */
  recall({ question, decisionId }: PolicyInput): string | undefined {
    const known = this.#known.get(question);
    return known && known[0] + decisionId + known[1];
  }

  keep({ question, decisionId }: PolicyInput, answer: string): void {
    const [before, behind, ...more] = answer.split(decisionId);
    // Not exactly one echo: what another id would have got is not known.
    if (before === undefined || behind === undefined || more.length > 0) return;
    this.#units += question.length + answer.length;
    // Old questions are those of past seconds: nobody asks them again, and the present ones are soon asked anew.
    if (this.#units > MAX_UNITS) {
      this.#known.clear();
      this.#units = question.length + answer.length;
    }
    this.#known.set(question, [before, behind]);
  }
}
