import {
  constants,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { Denied } from '../core/errors.ts';
import type { ClientConnection } from '../exchange/arrival.ts';
import type { ConnectionHost } from './http1-connection.ts';
import { carriedFields } from './http1-answer.ts';
import { Http2Exchange } from './http2-exchange.ts';
import { readHttp2Head, wishesOf } from './http2-head.ts';
import type { FramedHead } from '../http1/request-head.ts';

const CONCURRENT_STREAMS = 100;
const STREAM_WINDOW_BYTES = 256 * 1024;
/** Streams that a client may break off in a second. More is a flood (CVE-2023-44487). */
const RESETS_PER_SECOND = 100;

/** One HTTP/2 connection of a client system. TLS only: the protocol was agreed on by ALPN. */
export class Http2Connection {
  readonly #session: ServerHttp2Session;
  readonly #socket: Socket;
  readonly #facts: ClientConnection;
  readonly #host: ConnectionHost;
  #streams = 0;
  /** Streams whose answer was handed over whole, and until when the client may take it. */
  readonly #untaken = new Map<ServerHttp2Stream, number>();
  #deadline: number;
  #resets = { since: 0, count: 0 };

  constructor(socket: Socket, facts: ClientConnection, host: ConnectionHost) {
    this.#socket = socket;
    this.#facts = facts;
    this.#host = host;
    this.#deadline = host.clock.monotonic() + host.limits.headMs;
    const { headerBytes, targetBytes, fields } = host.limits;
    this.#session = performServerHandshake(socket, {
      settings: {
        enablePush: false,
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxConcurrentStreams: CONCURRENT_STREAMS,
        maxHeaderListSize: 2 * (headerBytes + targetBytes), // room to see, and answer, what is too large
      },
      maxHeaderListPairs: 4 * fields,
      maxOutstandingPings: 4,
      maxSettings: 16,
      maxSessionInvalidFrames: 16,
      maxSessionRejectedStreams: 64,
      streamResetBurst: 2 * RESETS_PER_SECOND,
      streamResetRate: RESETS_PER_SECOND,
    });
    this.#session.on('stream', (stream, _fields, flags, flat) => {
      this.#onStream(stream, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0, flat);
    });
    this.#session.on('error', () => undefined); // shows in its streams, and in `close`
    socket.on('error', () => undefined);
    socket.allowHalfOpen = false; // a client that has closed its side can answer no frame any more
  }

  sweep(now: number): void {
    for (const [stream, deadline] of this.#untaken) {
      if (now >= deadline) stream.destroy(new Error('nobody takes the answer'));
    }
    if (now < this.#deadline) return;
    if (this.#session.closed || this.#session.destroyed) this.#socket.destroy();
    else this.#farewell();
  }

  drain(): void {
    if (!this.#session.closed) this.#session.close(); // GOAWAY; running streams end first
  }

  break(cause: Error): void {
    this.#session.destroy(cause);
    this.#socket.destroy();
  }

  /** GOAWAY, and a while for the other side to close. */
  #farewell(): void {
    this.#session.close();
    this.#deadline = this.#host.clock.monotonic() + this.#host.limits.lingerMs;
  }

  #onStream(stream: ServerHttp2Stream, endsWithHead: boolean, flat: readonly string[]): void {
    const { clock, limits, consume } = this.#host;
    stream.on('error', () => undefined); // told through `close`; without a listener it would end the process
    this.#streams += 1;
    if (!this.#session.destroyed) this.#deadline = Infinity;
    let exchange: Http2Exchange | undefined;
    stream.on('close', () => {
      this.#streams -= 1;
      this.#untaken.delete(stream);
      if (this.#streams === 0 && !this.#session.destroyed)
        this.#deadline = clock.monotonic() + (this.#host.draining ? limits.lingerMs : limits.idleMs);
      if (exchange === undefined || exchange.brokenByClient) this.#meter();
    });
    let head: FramedHead;
    try {
      head = readHttp2Head(flat, endsWithHead, limits);
    } catch (thrown) {
      if (thrown instanceof Denied) this.#refuse(stream, thrown, flat);
      else stream.destroy();
      return;
    }
    exchange = new Http2Exchange(this.#facts, head, stream, () => this.#handedOver(stream));
    consume(exchange);
  }

  /** A client that opens no window for the answer would keep it, and its place, for ever. */
  #handedOver(stream: ServerHttp2Stream): void {
    const { clock, limits } = this.#host;
    this.#untaken.set(stream, clock.monotonic() + limits.idleMs);
  }

  #refuse(stream: ServerHttp2Stream, { code }: Denied, flat: readonly string[]): void {
    this.#host.onFramingRefusal(code, this.#facts.remote);
    if (stream.destroyed || stream.closed) return; // the client has left: `respond` would throw, and end the worker
    const { head, bytes } = this.#host.refusalAnswer(code, wishesOf(flat));
    const fields = carriedFields(head.fields).flat();
    const answer = [':status', String(head.status), ...fields, 'content-length', String(bytes.length)];
    stream.respond(answer, { sendDate: false } as object); // not in the types
    stream.end(bytes, () => stream.close(constants.NGHTTP2_NO_ERROR));
    this.#handedOver(stream);
  }

  /** Refused and broken-off streams cost us more than the client: too many in a second end the session. */
  #meter(): void {
    const now = this.#host.clock.monotonic();
    if (now - this.#resets.since >= 1000) this.#resets = { since: now, count: 0 };
    this.#resets.count += 1;
    if (this.#resets.count <= RESETS_PER_SECOND || this.#session.destroyed) return;
    this.#host.onFramingRefusal('framing.malformed', this.#facts.remote);
    this.#session.destroy(new Error('too many broken streams'), constants.NGHTTP2_ENHANCE_YOUR_CALM);
    this.#deadline = now + this.#host.limits.lingerMs; // Node then waits for the other side's FIN without a limit
  }
}
