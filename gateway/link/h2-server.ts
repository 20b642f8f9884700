import http2, { type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { ResponseHead } from '../core/head.ts';
import type { Inflow, Outflow } from '../core/flow.ts';
import { GoneBody } from './body.ts';
import { asBroken, broken } from './failures.ts';
import { appendFields, isBodyless, readH2Head, wholeOf } from './framing.ts';
import { GoneNotice } from './gone.ts';
import { DRAIN_NOTICE, sessionOptions, watchLife, widenWindow } from './h2-session.ts';
import { H2Received, H2Sent } from './h2-stream.ts';
import type { LinkArrival, LinkBody, LinkRawHead } from './link.ts';
import type { Rate } from './rate.ts';
import { resetRate, type ServerSession, type ServerSessionOptions } from './server-session.ts';
import type { TlsSession } from './tls.ts';

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR } =
  http2.constants;
/** RFC 9113 §6.8: "no new streams, please", before the number of the last stream that counts is known. */
const LAST_STREAM_UNKNOWN = 2 ** 31 - 1;
const FAREWELL_MS = 1000;
/** Node's own `Date` would be a field that no signature covers. The types do not know the option. */
const NO_DATE: object = { sendDate: false };

/** Our end of an HTTP/2 session that a consumer's gateway opened. */
export class H2ServerSession implements ServerSession {
  readonly facts: TlsSession;
  readonly #session: ServerHttp2Session;
  readonly #options: ServerSessionOptions;
  readonly #resets: Rate;
  #cause: Error | undefined;
  #retiring = false;
  #running = 0;
  #idle: NodeJS.Timeout | undefined;
  #farewell: NodeJS.Timeout | undefined;

  constructor(facts: TlsSession, options: ServerSessionOptions) {
    this.facts = facts;
    this.#options = options;
    const { clock, limits } = options;
    this.#resets = resetRate(clock, limits);
    const session = http2.performServerHandshake(facts.socket, sessionOptions(limits));
    this.#session = session;
    const stopWatching = watchLife(session, facts.socket, limits, (cause) => this.destroy(cause));
    session.once('connect', () => {
      if (!session.destroyed) widenWindow(session, limits);
    });
    session.on('error', (cause) => this.#broke(broken('session', cause)));
    session.on('goaway', (code) => {
      if (code !== NGHTTP2_NO_ERROR) this.#broke(broken(`the other side ended the session (code ${code})`));
    });
    session.on('close', () => {
      stopWatching();
      clearTimeout(this.#idle);
      clearTimeout(this.#farewell);
      options.onClosed();
    });
    session.on('stream', (stream, _fields, flags, flat) => {
      this.#onStream(stream, (flags & NGHTTP2_FLAG_END_STREAM) !== 0, flat);
    });
    this.#watchIdle();
  }

  #onStream(stream: ServerHttp2Stream, endsWithHead: boolean, flat: readonly string[]): void {
    const { clock, onArrival } = this.#options;
    let head: LinkRawHead;
    stream.on('error', () => undefined); // told through `close`; without a listener it would end the process
    if (clock.now() >= this.facts.expires) {
      this.destroy(broken('the certificate of the other side has expired'));
      return;
    }
    try {
      head = readH2Head(flat);
    } catch (cause) {
      this.#meter(broken('head', cause));
      stream.close(NGHTTP2_PROTOCOL_ERROR);
      return;
    }
    const arrival = new H2Arrival(this.facts, stream, head, endsWithHead);
    this.#running++;
    clearTimeout(this.#idle);
    stream.on('close', () => {
      if (--this.#running === 0) this.#watchIdle();
      if (arrival.closed(this.#cause)) this.#meter(broken('too many streams were reset'));
    });
    try {
      onArrival(arrival);
    } catch (cause) {
      stream.destroy(asBroken('arrival', cause));
    }
  }

  #meter(flood: Error): void {
    if (!this.#resets.take() && !this.#session.destroyed) {
      this.#broke(flood);
      this.#session.destroy(flood, NGHTTP2_ENHANCE_YOUR_CALM);
    }
  }

  #broke(cause: Error): void {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    this.#options.onBroken(cause);
  }

  #watchIdle(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.retire(), this.#options.limits.idleMs);
    this.#idle.unref();
  }

  retire(): void {
    if (this.#retiring || this.#session.destroyed) return;
    this.#retiring = true;
    // A gateway of ours hears this, starts nothing more, and closes when its last exchange has ended. GOAWAY alone
    // would lose calls: nghttp2 drops the heads that are queued when it comes.
    this.#session.ping(DRAIN_NOTICE, () => undefined);
    this.#farewell = setTimeout(() => this.#goaway(), FAREWELL_MS);
  }

  /** For everybody else, in two steps: announce, wait one round trip for what crosses it, then close. */
  #goaway(): void {
    if (this.#session.destroyed) return;
    this.#session.goaway(NGHTTP2_NO_ERROR, LAST_STREAM_UNKNOWN);
    const close = (): void => {
      clearTimeout(this.#farewell);
      if (!this.#session.destroyed) this.#session.close();
    };
    this.#farewell = setTimeout(close, FAREWELL_MS);
    this.#session.ping(close);
  }

  destroy(cause: Error): void {
    if (this.#session.destroyed) return;
    this.#broke(cause);
    this.#session.destroy(cause);
  }
}

class H2Arrival implements LinkArrival {
  readonly session: TlsSession;
  readonly rawHead: LinkRawHead;
  readonly endsWithHead: boolean;
  readonly inflow: Inflow;
  readonly #stream: ServerHttp2Stream;
  readonly #received: H2Received;
  readonly #gone = new GoneNotice();
  #sent: H2Sent | undefined;
  #answered = false;
  #ours = false;

  constructor(session: TlsSession, stream: ServerHttp2Stream, rawHead: LinkRawHead, endsWithHead: boolean) {
    this.session = session;
    this.rawHead = rawHead;
    this.endsWithHead = endsWithHead;
    this.#stream = stream;
    this.#received = new H2Received(stream, { withHead: endsWithHead, length: rawHead.length }, () => {
      stream.pause(); // the window closes; the answer, or the abort, does the rest
    });
    this.inflow = this.#received;
  }

  answer(head: ResponseHead, body: LinkBody): Outflow {
    if (this.#answered) throw new Error('answered twice');
    const bodyless = isBodyless(this.rawHead.method, head.status);
    const whole = wholeOf(body, bodyless);
    const flat = appendFields([':status', String(head.status)], head.fields);
    if (whole !== undefined && whole.length > 0) flat.push('content-length', String(whole.length));
    this.#answered = true;
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return new GoneBody(broken('the other side left'));
    const empty = whole?.length === 0;
    stream.respond(flat, { endStream: empty, waitForTrailers: whole === undefined, ...NO_DATE });
    const sent = new H2Sent(stream, whole === undefined, {
      finished: () => this.#onAnswered(),
      // Not `close(code)`: without Content-Length the receiver can take that for a tidy end.
      broke: (cause) => stream.destroy(cause),
    });
    this.#sent = sent;
    if (whole !== undefined && !empty) stream.end(whole);
    return sent;
  }

  abort(cause: Error): void {
    if (this.#sent?.finished === true) return;
    this.#ours = true;
    this.#received.settle(cause);
    this.#stream.destroy(cause);
  }

  onGone(listener: (cause: Error) => void): void {
    this.#gone.listen(listener);
  }

  /** RFC 9113 §8.1: a complete answer, then RST_STREAM(NO_ERROR), asks the sender to stop uploading. */
  #onAnswered(): void {
    if (this.#received.complete || this.#stream.destroyed) return;
    this.#ours = true;
    this.#received.settle(broken('answered before the request was complete'));
    this.#stream.close(NGHTTP2_NO_ERROR);
  }

  /** The stream is gone. @returns true when the other side broke it off */
  closed(sessionCause: Error | undefined): boolean {
    const code = this.#stream.rstCode ?? NGHTTP2_NO_ERROR;
    if (this.#sent?.finished === true && this.#received.settled) return false; // the usual case: no error to make
    const inOrder = code === NGHTTP2_NO_ERROR && sessionCause === undefined;
    const cause = sessionCause ?? broken(`the stream was closed (code ${code})`);
    this.#received.settle(cause);
    this.#sent?.closed(cause, inOrder);
    if (this.#sent?.finished === true) return false;
    this.#gone.tell(cause);
    return !this.#ours && sessionCause === undefined;
  }
}
