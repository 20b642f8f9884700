import { MalformedBytes } from '../core/errors.ts';

/** Tags we read (X.690 §8). Context tags: 0x80 primitive, 0xa0 constructed, plus the number. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const;

/** One DER value: its tag, what is inside, and all of its bytes. */
export interface DerValue {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly raw: Uint8Array;
}

/**
 * Cursor over the values inside one DER value. Strict (X.690 §10): definite, shortest lengths, one-byte tags. It never
 * returns short, never recurses by itself, and copies nothing.
 */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #offset = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  get atEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  /** Tag of the next value, or undefined at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#offset];
  }

  /** The next value, whatever it is. @throws MalformedBytes */
  any(): DerValue {
    const start = this.#offset;
    const tag = this.#byte();
    if ((tag & 0x1f) === 0x1f) throw this.#malformed('tag of more than one byte');
    const length = this.#length();
    const end = this.#offset + length;
    if (end > this.#bytes.length)
      throw this.#malformed(`needs ${length} bytes, has ${this.#bytes.length - this.#offset}`);
    const content = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return { tag, content, raw: this.#bytes.subarray(start, end) };
  }

  /** The next value, which must have this tag. @throws MalformedBytes */
  take(tag: number): DerValue {
    const value = this.any();
    if (value.tag !== tag) throw this.#malformed(`expected tag ${tag}, found ${value.tag}`);
    return value;
  }

  /** The next value if it has this tag; otherwise nothing is consumed. */
  takeIf(tag: number): DerValue | undefined {
    return this.nextTag === tag ? this.any() : undefined;
  }

  /** A reader of what is inside the next value, which must have this tag. */
  enter(tag: number, what: string): DerReader {
    return new DerReader(this.take(tag).content, what);
  }

  /** Bytes nobody looked at are an error. @throws MalformedBytes */
  finish(): void {
    if (!this.atEnd) throw this.#malformed(`${this.#bytes.length - this.#offset} bytes too many`);
  }

  #byte(): number {
    const byte = this.#bytes[this.#offset];
    if (byte === undefined) throw this.#malformed('ends early');
    this.#offset += 1;
    return byte;
  }

  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    // Three length bytes are 16 MiB: more than any certificate we would look at.
    const count = first & 0x7f;
    if (count === 0 || count > 3) throw this.#malformed('length is indefinite or too long');
    let length = 0;
    for (let i = 0; i < count; i += 1) length = length * 256 + this.#byte();
    if (length < 0x80 || length < 2 ** (8 * (count - 1))) throw this.#malformed('length is not the shortest');
    return length;
  }

  #malformed(problem: string): MalformedBytes {
    return new MalformedBytes(`${this.#what}: ${problem} at ${this.#offset}`);
  }
}

/** Dotted text of an OBJECT IDENTIFIER's content. @throws MalformedBytes */
export function oidText(content: Uint8Array): string {
  if (content.length === 0 || content.length > 32) throw new MalformedBytes('object identifier: length');
  const arcs: number[] = [];
  let arc = 0;
  let begins = true;
  for (const byte of content) {
    if (begins && byte === 0x80) throw new MalformedBytes('object identifier: arc is not the shortest');
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new MalformedBytes('object identifier: arc too large');
    begins = (byte & 0x80) === 0;
    if (begins) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const [first, ...rest] = arcs;
  if (!begins || first === undefined) throw new MalformedBytes('object identifier: ends early');
  const root = Math.min(2, Math.floor(first / 40));
  return [root, first - 40 * root, ...rest].join('.');
}

/** DER BOOLEAN: false is 00, true is ff, and nothing else (X.690 §11.1). @throws MalformedBytes */
export function booleanOf(content: Uint8Array): boolean {
  const [byte] = content;
  if (content.length !== 1 || (byte !== 0x00 && byte !== 0xff))
    throw new MalformedBytes('boolean: neither 00 nor ff');
  return byte === 0xff;
}

/** Milliseconds of a UTCTime or GeneralizedTime in the one form RFC 5280 §4.1.2.5 allows. @throws MalformedBytes */
export function timeOf(value: DerValue): number {
  const text = Buffer.from(value.content).toString('latin1');
  let digits: string;
  if (value.tag === TAG.utcTime && /^\d{12}Z$/.test(text)) {
    digits = `${Number(text.slice(0, 2)) >= 50 ? '19' : '20'}${text}`;
  } else if (value.tag === TAG.generalizedTime && /^\d{14}Z$/.test(text)) {
    digits = text;
  } else {
    throw new MalformedBytes('time: neither YYMMDDHHMMSSZ nor YYYYMMDDHHMMSSZ');
  }
  const iso = digits.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6.000Z');
  const at = Date.parse(iso);
  // Date.parse takes 30 February for 2 March; the day must come back as it went in.
  if (Number.isNaN(at) || new Date(at).toISOString() !== iso)
    throw new MalformedBytes('time: no such day or hour');
  return at;
}
