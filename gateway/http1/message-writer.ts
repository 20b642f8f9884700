import { Buffer } from 'node:buffer';
import type { Fields } from '../core/fields.ts';
import type { Loan, Outflow, OutflowEvents } from '../core/flow.ts';
import { requireFieldText } from './field-line.ts';

/** The part of a socket that messages are written through. */
export interface Wire {
  readonly writableNeedDrain: boolean;
  cork(): void;
  uncork(): void;
  write(bytes: Buffer, written?: Written): boolean;
  write(text: string, encoding: 'latin1', written?: Written): boolean;
}

type Written = (error?: Error | null) => void;

/** Content up to this is copied behind its head: one write of one piece costs less than two pieces. */
const COPY_BYTES = 16 * 1024;

/** Field lines. @throws Error when one could start another line */
export function formatFields(fields: Fields): string {
  requireFieldText(fields);
  let text = '';
  for (const [name, value] of fields) text += `${name}: ${value}\r\n`;
  return text;
}

/** Writes a message whose content is here. */
export function writeWhole(wire: Wire, head: string, content: Buffer): void {
  if (content.length === 0) wire.write(head, 'latin1');
  else if (content.length <= COPY_BYTES) {
    const bytes = Buffer.allocUnsafe(head.length + content.length);
    content.copy(bytes, bytes.write(head, 'latin1'));
    wire.write(bytes);
  } else {
    wire.cork();
    wire.write(head, 'latin1');
    wire.write(content);
    wire.uncork();
  }
}

/** Whose body it is that a writer writes. */
export interface BodyOwner {
  /** The last byte was written; the operating system may not have it yet. */
  written(): void;
  /** Everything was handed to the operating system. */
  finished(): void;
  /** Breaks the connection, so that the other side cannot take it for an end. Tells the writer by `fail`. */
  break(cause: Error): void;
}

/**
 * The way of one body onto a connection, behind its head. Buffers go out as they came; sizes and ends are ours. The end
 * is told by length or by the last chunk (RFC 9112 §6.3), never by closing: that looks the same as breaking off.
 */
export class BodyWriter implements Outflow {
  readonly #owner: BodyOwner;
  readonly #chunked: boolean;
  /** Content bytes still owed, when they are counted. */
  #owed: number;
  #wire: Wire | undefined;
  #source: OutflowEvents | undefined;
  /** What was written before there was a connection. */
  #early: { readonly chunk: Buffer; readonly loan: Loan | undefined }[] = [];
  #last: Buffer | undefined;
  #state: 'open' | 'ended' | 'finished' | 'failed' = 'open';
  #failure: Error | undefined;
  #corked = false;

  /** @param length undefined: chunked */
  constructor(length: number | undefined, owner: BodyOwner) {
    this.#chunked = length === undefined;
    this.#owed = length ?? 0;
    this.#owner = owner;
  }

  /** Everything was handed to the operating system. */
  get finished(): boolean {
    return this.#state === 'finished';
  }

  /** Sends the head on this connection, and behind it what waited. */
  begin(wire: Wire, head: string): void {
    this.#wire = wire;
    this.#cork(wire);
    wire.write(head, 'latin1');
    const early = this.#early;
    this.#early = [];
    for (const { chunk, loan } of early) this.#content(wire, chunk, loan);
    if (this.#state === 'ended') this.#close(wire);
    else if (!wire.writableNeedDrain) this.#source?.drain();
  }

  attach(source: OutflowEvents): void {
    this.#source = source;
    const failure = this.#failure;
    if (failure !== undefined) queueMicrotask(() => source.error(failure));
    else if (this.#state === 'finished') queueMicrotask(() => source.finish());
  }

  write(chunk: Buffer, loan?: Loan): boolean {
    if (this.#state !== 'open') return false;
    if (this.#wire !== undefined) return this.#content(this.#wire, chunk, loan);
    this.#early.push({ chunk, loan });
    return false;
  }

  end(last: Buffer | undefined, _trailers?: Fields): void {
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    this.#last = last;
    if (this.#wire !== undefined) this.#close(this.#wire);
  }

  destroy(cause: Error): void {
    if (this.#state !== 'finished') this.#owner.break(cause);
  }

  drained(): void {
    if (this.#state === 'open') this.#source?.drain();
  }

  /** The connection is gone. */
  fail(cause: Error): void {
    if (this.#state === 'finished' || this.#state === 'failed') return;
    this.#state = 'failed';
    this.#failure = cause;
    this.#early = [];
    this.#source?.error(cause);
  }

  #breakOff(cause: Error): void {
    this.fail(cause);
    this.#owner.break(cause);
  }

  #content(wire: Wire, chunk: Buffer, loan: Loan | undefined, written = givingBack(loan)): boolean {
    // An empty chunk would be the end of a chunked body.
    if (chunk.length === 0) return !wire.writableNeedDrain;
    this.#cork(wire);
    if (this.#chunked) {
      wire.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
      wire.write(chunk, written);
      return wire.write('\r\n', 'latin1');
    }
    this.#owed -= chunk.length;
    if (this.#owed >= 0) return wire.write(chunk, written);
    this.#breakOff(new Error('more content than announced'));
    return false;
  }

  #close(wire: Wire): void {
    const last = this.#last ?? NOTHING;
    const handedOver = (error?: Error | null): void => {
      if (error === undefined || error === null) this.#finish(); // else the connection tells everybody
    };
    const counted = !this.#chunked && last.length > 0;
    this.#content(wire, last, undefined, counted ? handedOver : undefined);
    // Fewer bytes than announced: an end now would leave the other side waiting inside the next message.
    if (this.#owed > 0) this.#breakOff(new Error(`content ${this.#owed} bytes short`));
    if (this.#state !== 'ended') return;
    if (!counted) wire.write(this.#chunked ? '0\r\n\r\n' : '', 'latin1', handedOver);
    this.#owner.written();
  }

  #finish(): void {
    if (this.#state !== 'ended') return;
    this.#state = 'finished';
    this.#owner.finished();
    this.#source?.finish();
  }

  /** Head, chunk size and content of one turn of the loop leave in one system call. */
  #cork(wire: Wire): void {
    if (this.#corked) return;
    this.#corked = true;
    wire.cork();
    queueMicrotask(() => {
      this.#corked = false;
      wire.uncork();
    });
  }
}

const NOTHING = Buffer.alloc(0);

/** After a failure nobody can tell whether the system still reads the bytes. */
const givingBack = (loan: Loan | undefined): Written | undefined =>
  loan === undefined
    ? undefined
    : (error) => {
        if (error === undefined || error === null) loan.done();
      };

/** Where the content of a message goes that has gone whole, or has none: nowhere, and nobody waits for it. */
export const WRITTEN: Outflow = Object.freeze({
  attach: (source: OutflowEvents) => queueMicrotask(() => source.finish()),
  write: () => true,
  end: () => undefined,
  destroy: () => undefined,
});
