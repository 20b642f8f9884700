import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { NO_FIELDS, type Fields } from '../core/fields.ts';
import { closingFields, ReceivedBody, SentBody } from './body.ts';
import { asBroken, broken } from './failures.ts';
import { isChunked, lengthOf, readTrailers } from './framing.ts';

/**
 * A body that comes on an HTTP/1.1 connection. Chunked bodies are streamed ones and must close with trailers; the
 * others are whole. A cut connection is reliably seen: `complete` stays false.
 */
export class H1Received extends ReceivedBody {
  readonly #message: IncomingMessage;
  readonly #refuse: (cause: Error) => void;
  readonly #onBegin: () => void;

  /**
   * @param refuse what `destroy` does beyond settling
   * @param onBegin before the first read: sends `100 Continue` where somebody waits for it
   */
  constructor(
    message: IncomingMessage,
    refuse: (cause: Error) => void,
    onBegin: () => void = () => undefined,
  ) {
    super();
    this.#message = message;
    this.#refuse = refuse;
    this.#onBegin = onBegin;
    let failure: Error | undefined;
    message.on('error', (cause) => (failure ??= cause));
    message.on('close', () => this.settle(asBroken('the connection was closed', failure)));
  }

  protected override begin(): void {
    this.#message.on('data', (chunk: Buffer) => {
      if (!this.settled) this.sink?.data(chunk);
    });
    this.#message.on('end', () => this.settle(this.#verdict()));
    this.#onBegin();
  }

  #verdict(): Fields | Error {
    const message = this.#message;
    if (!message.complete) return broken('the connection was closed within a message');
    if (!isChunked(message.rawHeaders)) return NO_FIELDS;
    try {
      return readTrailers(message.rawTrailers);
    } catch (cause) {
      return asBroken('trailers', cause);
    }
  }

  override pause(): void {
    if (!this.settled) this.#message.pause();
  }

  override resume(): void {
    if (!this.settled) this.#message.resume();
  }

  override destroy(cause: Error): void {
    if (this.complete) return;
    this.settle(cause);
    this.#refuse(cause);
  }
}

/** True when a received head says how its body ends. Only such a message can ever be told from a truncated one. */
export function isDelimited(flat: readonly string[]): boolean {
  return isChunked(flat) || lengthOf(flat) !== undefined;
}

/** A body that goes out on an HTTP/1.1 connection. */
export class H1Sent extends SentBody {
  readonly #message: ClientRequest | ServerResponse;
  #ended: boolean;

  constructor(message: ClientRequest | ServerResponse, streaming: boolean, onFinish: () => void) {
    super();
    this.#message = message;
    this.#ended = !streaming;
    if (streaming) message.on('drain', () => this.source?.drain());
    message.on('finish', () => {
      if (!this.#ended || this.settled) return;
      this.settle('finished');
      onFinish();
    });
  }

  override write(chunk: Buffer): boolean {
    if (this.#ended) throw new Error('write after the end');
    if (this.settled || this.#message.destroyed) return false;
    return this.#message.write(chunk);
  }

  override end(last: Buffer | undefined, trailers: Fields): void {
    if (this.#ended) throw new Error('a body ends once');
    const closing = closingFields(trailers);
    this.#ended = true;
    if (this.settled || this.#message.destroyed) return;
    this.#message.addTrailers(closing);
    if (last === undefined || last.length === 0) this.#message.end();
    else this.#message.end(last);
  }

  override destroy(cause: Error): void {
    if (this.finished) return;
    this.abandon(cause);
    this.#message.destroy(cause);
  }
}
