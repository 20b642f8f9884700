import { MalformedBytes, quoted } from '../core/errors.ts';

// RESP, the protocol of Valkey and Redis, in version 2: what every server of the last ten years speaks unasked.

/** An error that the store answered: `OOM …`, `READONLY …`, `NOAUTH …`. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
}

export type Reply = string | number | null | StoreError | readonly Reply[];

const MAX_BULK = 1024 * 1024;
const MAX_ITEMS = 4096;
const MAX_DEPTH = 8;
const MAX_LINE = 4096;
const CR = 13;

/** One command as it goes over the wire. */
export function encodeCommand(words: readonly string[]): string {
  let text = `*${words.length}\r\n`;
  for (const word of words) text += `$${Buffer.byteLength(word)}\r\n${word}\r\n`;
  return text;
}

/** Nothing complete is there yet. */
const MORE = Symbol('more');

/** Reads replies out of a stream of bytes. The store is trusted with answers, not with memory: all lengths are bounded. */
export class ReplyReader {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;

  /**
   * @returns the replies that are complete by now, in order
   * @throws MalformedBytes what follows cannot be understood any more
   */
  read(chunk: Buffer): Reply[] {
    this.#bytes =
      this.#at < this.#bytes.length ? Buffer.concat([this.#bytes.subarray(this.#at), chunk]) : chunk;
    this.#at = 0;
    const replies: Reply[] = [];
    for (;;) {
      const from = this.#at;
      const reply = this.#reply(0);
      if (reply === MORE) {
        this.#at = from;
        return replies;
      }
      replies.push(reply);
    }
  }

  #reply(depth: number): Reply | typeof MORE {
    const line = this.#line();
    if (line === MORE) return MORE;
    const [kind, rest] = [line[0], line.slice(1)];
    switch (kind) {
      case '+':
        return rest;
      case '-':
        return new StoreError(quoted(rest, 200));
      case ':':
        return integer(rest, Number.MAX_SAFE_INTEGER);
      case '$':
        return this.#bulk(integer(rest, MAX_BULK));
      case '*':
        return this.#array(integer(rest, MAX_ITEMS), depth);
      default:
        throw new MalformedBytes(`reply of the kind ${quoted(line, 20)}`);
    }
  }

  #bulk(length: number): string | null | typeof MORE {
    if (length < 0) return null;
    const end = this.#at + length;
    if (this.#bytes.length < end + 2) return MORE;
    const text = this.#bytes.toString('utf8', this.#at, end);
    if (this.#bytes[end] !== CR) throw new MalformedBytes('a text longer than announced');
    this.#at = end + 2;
    return text;
  }

  #array(length: number, depth: number): readonly Reply[] | null | typeof MORE {
    if (length < 0) return null;
    if (depth === MAX_DEPTH) throw new MalformedBytes('a list in too many lists');
    const items: Reply[] = [];
    while (items.length < length) {
      const item = this.#reply(depth + 1);
      if (item === MORE) return MORE;
      items.push(item);
    }
    return items;
  }

  #line(): string | typeof MORE {
    const end = this.#bytes.indexOf('\r\n', this.#at, 'latin1');
    if (end < 0) {
      if (this.#bytes.length - this.#at > MAX_LINE) throw new MalformedBytes('a line without an end');
      return MORE;
    }
    const line = this.#bytes.toString('latin1', this.#at, end);
    this.#at = end + 2;
    return line;
  }
}

function integer(text: string, most: number): number {
  const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= most)) throw new MalformedBytes(`length or number ${quoted(text, 20)}`);
  return value;
}
