import { Buffer } from 'node:buffer';

/** What tells one text from another, of those that are expected: the end of a signature or a hash. */
const KEY = 43;

interface Known<T> {
  readonly text: string;
  readonly value: T;
}

/**
 * What was found out about long texts that come again and again, each time as another string. A `Map` would hash all of
 * each: ten times what comparing them costs. Here a text is found by a piece of it, and compared by all of it. Of texts
 * that have this piece in common the last one is known.
 */
export class KnownTexts<T extends object> {
  readonly #max: number;
  readonly #ending: number;
  readonly #known = new Map<string, Known<T>>();

  /**
   * @param max texts at most; the one kept longest makes room
   * @param ending characters at the end of a text that say little, because many have them in common
   */
  constructor(max: number, ending = 0) {
    this.#max = max;
    this.#ending = ending;
  }

  find(text: string): T | undefined {
    const known = this.#known.get(this.#keyOf(text));
    return known !== undefined && known.text === text ? known.value : undefined;
  }

  /** @param text one byte a character; another one is not kept */
  keep(text: string, value: T): void {
    // A copy: what came is a window on all that it came with.
    const own = Buffer.from(text, 'latin1').toString('latin1');
    if (own !== text) return;
    const key = this.#keyOf(own);
    this.#known.delete(key); // behind all others again
    this.#known.set(key, { text: own, value });
    if (this.#known.size <= this.#max) return;
    const [oldest] = this.#known.keys();
    if (oldest !== undefined) this.#known.delete(oldest);
  }

  #keyOf(text: string): string {
    const end = text.length - this.#ending;
    return text.slice(Math.max(0, end - KEY), Math.max(0, end));
  }
}
