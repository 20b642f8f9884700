import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Clock } from '../core/clock.ts';
import { Denied, Unavailable } from '../core/errors.ts';
import type { RequestHead } from '../core/head.ts';
import { linkFields } from '../message/headers.ts';
import type { ReceivedBody } from './body.ts';
import type { ClientSession, SessionWatcher } from './client-session.ts';
import { Departures, type Departure } from './departures.ts';
import { asBroken, broken } from './failures.ts';
import { contentFields, h2Request, isBodyless, lengthOf, requireStatus } from './framing.ts';
import { DRAIN_NOTICE, sessionOptions, watchLife, widenWindow } from './h2-session.ts';
import { H2Received, H2Sent } from './h2-stream.ts';
import type { LinkAnswer, LinkBody, LinkCall, LinkLimits, LinkSession } from './link.ts';
import type { TlsSession } from './tls.ts';

const END_STREAM = http2.constants.NGHTTP2_FLAG_END_STREAM;

/** Our end of an HTTP/2 session to a provider's gateway. */
export class H2ClientSession implements ClientSession {
  readonly facts: TlsSession;
  readonly #session: ClientHttp2Session;
  readonly #close: () => void;
  readonly #limits: LinkLimits;
  readonly #watcher: SessionWatcher;
  readonly #departures: Departures;
  #active = 0;
  #started = 0;
  #capacity = 0; // until the other side's SETTINGS came
  #usable = true;
  #cause: Error | undefined;

  private constructor(
    facts: TlsSession,
    session: ClientHttp2Session,
    limits: LinkLimits,
    clock: Clock,
    watcher: SessionWatcher,
  ) {
    this.facts = facts;
    this.#departures = new Departures(clock, limits.cancelsPerSecond);
    this.#session = session;
    this.#close = session.close.bind(session);
    this.#watcher = watcher;
    this.#limits = limits;
    session.on('remoteSettings', () => (this.#capacity = capacityOf(session, limits)));
    const stopWatching = watchLife(session, facts.socket, limits, (cause) => this.destroy(cause));
    session.on('error', (cause) => (this.#cause ??= broken('session', cause)));
    session.on('goaway', (code) => {
      if (code !== 0) this.#cause ??= broken(`the other side ended the session (code ${code})`);
      // Node now calls `close`, which answers with a GOAWAY of its own, which overtakes the heads that are queued, which
      // the other side then refuses. So we close when the last exchange has ended.
      session.close = () => undefined;
      this.retire();
    });
    session.on('ping', (payload: Buffer) => {
      if (payload.equals(DRAIN_NOTICE)) this.retire();
    });
    session.on('close', () => {
      stopWatching();
      this.#departures.stop();
      this.#cause ??= this.#active > 0 ? broken('the session was closed') : undefined;
      this.#unusable();
      watcher.onClosed();
    });
  }

  /**
   * Greets the other side. Resolves when its SETTINGS came: in TLS 1.3 the client finishes first, so only an answer
   * shows that our own certificate was accepted.
   * @throws Error of the connection
   */
  static async open(
    facts: TlsSession,
    limits: LinkLimits,
    clock: Clock,
    watcher: SessionWatcher,
  ): Promise<H2ClientSession> {
    // The URL is not used: the connection is there, and every request names its authority itself.
    const session = http2.connect('https://link.invalid', {
      ...sessionOptions(limits),
      createConnection: () => facts.socket,
    });
    // Made before the wait: an end that came in between would never be noticed.
    const opened = new H2ClientSession(facts, session, limits, clock, watcher);
    await greeting(session);
    widenWindow(session, limits);
    return opened;
  }

  get active(): number {
    return this.#active;
  }

  get load(): number {
    return this.active;
  }

  get usable(): boolean {
    // Node tells of a destroyed session only when its socket has closed, which can take long.
    return this.#usable && !this.#session.destroyed && !this.#session.closed;
  }

  get room(): number {
    return this.usable ? this.#capacity - this.#active : 0;
  }

  request(head: RequestHead, body: LinkBody): LinkCall {
    const flat = h2Request(head);
    const whole = body.kind === 'whole' ? body.bytes : undefined;
    if (whole !== undefined && whole.length > 0) flat.push('content-length', String(whole.length));
    const stream = this.#session.request(flat, {
      endStream: whole?.length === 0,
      waitForTrailers: whole === undefined,
    });
    this.#active++;
    if (++this.#started >= this.#limits.exchangesPerSession) this.#unusable();
    const call = new H2Call(this.facts, stream, head.method, whole === undefined, this.#departures);
    if (whole !== undefined && whole.length > 0) stream.end(whole);
    stream.on('close', () => {
      this.#active--;
      call.closed(this.#cause);
      if (this.#usable) this.#watcher.onFree();
      else this.retire();
    });
    return call;
  }

  retire(): void {
    this.#unusable();
    // GOAWAY would overtake the head of a request that was queued just now, and the other side would refuse it.
    if (this.#active === 0 && !this.#session.destroyed) this.#close();
  }

  destroy(cause: Error): void {
    this.#cause ??= cause;
    this.#unusable();
    this.#session.destroy(cause);
  }

  #unusable(): void {
    if (!this.#usable) return;
    this.#usable = false;
    this.#watcher.onUnusable(this.#cause);
  }
}

function capacityOf(session: ClientHttp2Session, limits: LinkLimits): number {
  // Absent = no limit of theirs (RFC 9113 §6.5.2); ours then bounds both.
  return Math.min(session.remoteSettings.maxConcurrentStreams ?? Infinity, limits.streamsPerSession);
}

async function greeting(session: ClientHttp2Session): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onSettings = (): void => {
      session.off('close', onClose);
      resolve();
    };
    let failure: Error | undefined;
    const onClose = (): void => {
      reject(
        failure ??
          new Unavailable(
            'link.peer_rejected',
            'closed before a greeting: is our certificate registered there?',
          ),
      );
    };
    // Stays for the life of the session: an `error` without a listener would end the process.
    session.on('error', (cause) => (failure ??= cause));
    session.once('remoteSettings', onSettings);
    session.once('close', onClose);
  });
}

class H2Call implements LinkCall, Departure {
  readonly session: LinkSession;
  readonly outflow: H2Sent;
  readonly answer: Promise<LinkAnswer>;
  readonly #stream: ClientHttp2Stream;
  readonly #departures: Departures;
  #left = false;
  #inflow: ReceivedBody | undefined;
  #failure: Error | undefined;
  #resolve!: (answer: LinkAnswer) => void;
  #reject!: (cause: Error) => void;

  constructor(
    session: LinkSession,
    stream: ClientHttp2Stream,
    method: string,
    streaming: boolean,
    departures: Departures,
  ) {
    this.session = session;
    this.#departures = departures;
    this.#stream = stream;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.answer.catch(() => undefined); // whoever waits hears of it; nobody waiting is no crash
    this.outflow = new H2Sent(stream, streaming, {
      finished: () => undefined,
      broke: (cause) => this.#leave(cause),
    });
    stream.on('error', (cause) => (this.#failure ??= cause));
    stream.on('response', (_fields, flags, flat) => {
      if (this.#left) return;
      try {
        this.#onResponse(method, (flags & END_STREAM) !== 0, flat);
      } catch (cause) {
        this.#leave(asBroken('answer', cause));
      }
    });
  }

  #onResponse(method: string, endsWithHead: boolean, flat: readonly string[]): void {
    const status = Number(flat[1]); // :status is the only pseudo-header field and so comes first (RFC 9113 §8.3)
    if (flat[0] !== ':status') throw broken('no status');
    requireStatus(status);
    if (isBodyless(method, status) && !endsWithHead) throw broken('a body where none may be');
    const length = lengthOf(flat);
    const inflow = new H2Received(this.#stream, { withHead: endsWithHead, length }, (cause) =>
      this.#leave(cause),
    );
    this.#inflow = inflow;
    this.#resolve({ head: { status, fields: linkFields(contentFields(flat)) }, inflow });
  }

  /** The stream is gone: whatever is open now was broken off. */
  closed(sessionCause: Error | undefined): void {
    if (this.#inflow?.settled === true && this.outflow.settled) return; // the usual case: no error to make
    const reset = this.#stream.rstCode ?? 0;
    const cause =
      this.#failure instanceof Denied || this.#failure instanceof Unavailable
        ? this.#failure
        : (sessionCause ?? asBroken(`the stream was closed (code ${reset})`, this.#failure));
    this.#reject(cause);
    this.#inflow?.settle(cause);
    this.outflow.settle(cause);
  }

  abort(cause: Error): void {
    if (this.#inflow?.complete === true && this.outflow.finished) return;
    this.#leave(cause);
  }

  #leave(cause: Error): void {
    if (this.#left) return;
    this.#left = true;
    this.#failure ??= cause;
    this.#inflow?.settle(cause);
    this.#reject(cause);
    this.outflow.settle(cause);
    this.#stream.resume(); // what still comes is dropped
    this.#departures.add(this);
  }

  get over(): boolean {
    return this.#stream.destroyed;
  }

  reset(): void {
    // Not `close(code)`: without Content-Length the receiver can take that for a tidy end.
    this.#stream.destroy(this.#failure);
  }
}
