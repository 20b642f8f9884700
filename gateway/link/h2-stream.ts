import type { ClientHttp2Stream, ServerHttp2Stream } from 'node:http2';
import { Denied } from '../core/errors.ts';
import { NO_FIELDS, type Fields } from '../core/fields.ts';
import { closingFields, ReceivedBody, SentBody } from './body.ts';
import { asBroken, broken } from './failures.ts';
import { readTrailers } from './framing.ts';

type Stream = ClientHttp2Stream | ServerHttp2Stream;

export interface Ending {
  /** END_STREAM stood on the head. */
  readonly withHead: boolean;
  readonly length: number | undefined;
}

/**
 * A body that comes on an HTTP/2 stream. Node's `end` is no proof: RST_STREAM(NO_ERROR or CANCEL), a closed socket and
 * `destroy()` can all look like one (nodejs/node 35209, 56627). The message is complete only when the other side said
 * so inside the stream: END_STREAM on the head, trailers, or as many bytes as were announced.
 */
export class H2Received extends ReceivedBody {
  readonly #stream: Stream;
  readonly #ending: Ending;
  readonly #refuse: (cause: Error) => void;
  #received = 0;
  #trailers: Fields | Error | undefined;

  /** @param refuse what `destroy` does: the client breaks the stream off, the server may have an answer under way */
  constructor(stream: Stream, ending: Ending, refuse: (cause: Error) => void) {
    super();
    this.#stream = stream;
    this.#ending = ending;
    this.#refuse = refuse;
    if (ending.withHead) {
      stream.resume(); // nothing comes, but an end nobody reads keeps the stream open
      this.settle(NO_FIELDS);
      return;
    }
    // Trailers are announced before the data in front of them was read.
    stream.on('trailers', (_fields, _flags, flat) => this.#onTrailers(flat));
  }

  protected override begin(): void {
    this.#stream.on('data', (chunk: Buffer) => {
      this.#received += chunk.length;
      if (!this.settled) this.sink?.data(chunk);
    });
    this.#stream.on('end', () => this.settle(this.#verdict()));
  }

  #onTrailers(flat: readonly string[]): void {
    try {
      if (this.#trailers !== undefined) throw new Denied('message.completion', 'trailers came twice');
      this.#trailers = readTrailers(flat);
    } catch (cause) {
      this.#trailers = asBroken('trailers', cause);
    }
  }

  #verdict(): Fields | Error {
    const stream = this.#stream;
    if (stream.rstCode !== 0) return broken(`the other side reset the stream (${stream.rstCode})`);
    // On a server this means that the asker left; on a client, that our own upload was cut short by a complete answer.
    if (stream.aborted && isServer(stream)) return broken('the other side left');
    if (this.#trailers !== undefined) return this.#trailers;
    if (this.#ending.length !== undefined) {
      return this.#received === this.#ending.length
        ? NO_FIELDS
        : broken(`${this.#received} of ${this.#ending.length} bytes came`);
    }
    // The stream still stands, so this end was sent: a message of ours without its closing fields.
    if (!stream.closed) return new Denied('message.completion', 'the body ended without trailers');
    return broken('the stream was closed before its trailers');
  }

  override pause(): void {
    if (!this.settled) this.#stream.pause();
  }

  override resume(): void {
    if (!this.settled) this.#stream.resume();
  }

  override destroy(cause: Error): void {
    if (this.complete) return;
    this.settle(cause);
    this.#refuse(cause);
  }
}

const isServer = (stream: Stream): stream is ServerHttp2Stream => 'respond' in stream;

/** What becomes of a stream when its outgoing body is over. */
export interface SentHost {
  /** All of it was handed over. */
  finished(): void;
  /** We break it off. */
  broke(cause: Error): void;
}

/** A body that goes out on an HTTP/2 stream. */
export class H2Sent extends SentBody {
  readonly #stream: Stream;
  readonly #host: SentHost;
  #ended: boolean;
  #written = false;
  #trailers: Record<string, string> | undefined;
  /** How far the trailers are: `due` until Node asks for them, `handed` until it has sent them on. */
  #closing: 'none' | 'due' | 'handed' | 'sent';

  /** @param streaming false when the whole body was handed over with the head */
  constructor(stream: Stream, streaming: boolean, host: SentHost) {
    super();
    this.#stream = stream;
    this.#host = host;
    this.#ended = !streaming;
    this.#closing = streaming ? 'due' : 'none';
    if (streaming) {
      stream.on('drain', () => this.source?.drain());
      stream.on('wantTrailers', () => this.#sendTrailers());
    }
    if (stream.writableFinished) this.#onWritten();
    else stream.on('finish', () => this.#onWritten());
  }

  override write(chunk: Buffer): boolean {
    if (this.#ended) throw new Error('write after the end');
    if (this.settled || this.#stream.destroyed || this.#stream.closed) return false;
    return this.#stream.write(chunk);
  }

  override end(last: Buffer | undefined, trailers: Fields): void {
    if (this.#ended) throw new Error('a body ends once');
    this.#trailers = closingFields(trailers);
    this.#ended = true;
    if (this.settled || this.#stream.destroyed || this.#stream.closed) return;
    if (last === undefined || last.length === 0) this.#stream.end();
    else this.#stream.end(last);
  }

  override destroy(cause: Error): void {
    if (this.finished) return;
    this.abandon(cause);
    this.#host.broke(cause);
  }

  #sendTrailers(): void {
    if (this.#trailers === undefined || this.#stream.destroyed || this.#stream.closed) return;
    if (this.settled) return; // broken off: nothing may make it look whole
    try {
      this.#stream.sendTrailers(this.#trailers);
    } catch (cause) {
      this.#stream.destroy(asBroken('trailers', cause));
      return;
    }
    this.#closing = 'handed';
    // Node submits them in the next immediate; ours runs after it. A reset in between would overtake them.
    setImmediate(() => {
      this.#closing = 'sent';
      this.#finish();
    });
  }

  /**
   * The stream is gone. When both directions are complete Node may destroy it before its own `finish`, so the
   * accepting side goes by the code: 0 with everything handed over is the orderly end.
   */
  closed(cause: Error, inOrder: boolean): void {
    this.settle(inOrder && this.#ended && this.#closing !== 'due' ? 'finished' : cause);
  }

  #onWritten(): void {
    this.#written = true;
    this.#finish();
  }

  #finish(): void {
    // Node ends the writable side by itself when the stream is reset, so its `finish` alone says little.
    const handedOver = this.#ended && this.#written && (this.#closing === 'none' || this.#closing === 'sent');
    if (!handedOver || this.settled || this.#stream.destroyed) return;
    this.settle('finished');
    this.#host.finished();
  }
}
