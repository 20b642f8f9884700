import type { Clock } from '../core/clock.ts';
import { Unavailable, MalformedBytes } from '../core/errors.ts';
import type { RequestHead } from '../core/head.ts';
import { plainLinkFields } from '../message/headers.ts';
import type { ClientSession, SessionWatcher } from './client-session.ts';
import { Departures, type Departure } from './departures.ts';
import { asBroken, broken } from './failures.ts';
import { FrameConnection, type FrameRole } from './frame-connection.ts';
import { decodeAnswer, EncodedHead } from './frame-head.ts';
import { FrameReceived } from './frame-received.ts';
import { FrameSent } from './frame-sent.ts';
import { FrameStream, type StreamHost } from './frame-stream.ts';
import { isBodyless } from './framing.ts';
import { CODE, KIND, MAX_STREAM } from './frames.ts';
import type { LinkAnswer, LinkBody, LinkCall, LinkLimits } from './link.ts';
import type { TlsSession } from './tls.ts';

/** So many small exchanges weigh as much as one that others have to wait for: they share records and system calls. */
const COMPANY = 8;

/** Our end of a `troad/1` connection to a provider's gateway. */
export class FrameClientSession implements ClientSession, FrameRole {
  readonly facts: TlsSession;
  readonly #connection: FrameConnection;
  readonly #limits: LinkLimits;
  readonly #watcher: SessionWatcher;
  readonly #departures: Departures;
  #capacity = 0; // until the other side's greeting came
  #usable = true;
  #cause: Error | undefined;
  #onGreeting: (() => void) | undefined;
  #onEnd: (() => void) | undefined;

  private constructor(facts: TlsSession, limits: LinkLimits, clock: Clock, watcher: SessionWatcher) {
    this.facts = facts;
    this.#limits = limits;
    this.#watcher = watcher;
    this.#departures = new Departures(clock, limits.cancelsPerSecond);
    this.#connection = new FrameConnection(facts, limits, clock, this);
  }

  /**
   * Resolves when the other side has greeted us: in TLS 1.3 the client finishes first, so only an answer shows that our
   * own certificate was accepted.
   * @throws Error of the connection
   */
  static async open(
    facts: TlsSession,
    limits: LinkLimits,
    clock: Clock,
    watcher: SessionWatcher,
  ): Promise<FrameClientSession> {
    const opened = new FrameClientSession(facts, limits, clock, watcher);
    await new Promise<void>((resolve, reject) => {
      opened.#onGreeting = resolve;
      opened.#onEnd = () => {
        reject(
          new Unavailable(
            'link.peer_rejected',
            'closed before a greeting: is our certificate registered there?',
            { cause: opened.#cause },
          ),
        );
      };
    });
    return opened;
  }

  get active(): number {
    return this.#connection.active;
  }

  get load(): number {
    return this.#connection.heavy * this.#limits.spreadAt + this.active / COMPANY;
  }

  get usable(): boolean {
    return this.#usable && !this.#connection.destroyed;
  }

  get room(): number {
    return this.usable ? this.#capacity - this.active : 0;
  }

  request(head: RequestHead, body: LinkBody): LinkCall {
    const connection = this.#connection;
    const length = body.kind === 'whole' ? body.bytes.length : undefined;
    const encoded = EncodedHead.request(head, length, connection.accepted);
    const call = new FrameCall(connection.last + 1, connection, head.method, this.#departures);
    connection.add(call);
    if (call.id >= Math.min(this.#limits.exchangesPerSession, MAX_STREAM)) this.#unusable();
    connection.output.head(KIND.head, call.id, encoded);
    if (body.kind === 'whole') call.outflow.whole(body.bytes);
    else call.weigh();
    return call;
  }

  retire(): void {
    this.#unusable();
    if (this.active === 0 && !this.#connection.destroyed) this.#connection.end();
  }

  destroy(cause: Error): void {
    this.#connection.destroy(cause, CODE.gone);
  }

  greeted(streams: number): void {
    this.#capacity = Math.min(streams, this.#limits.streamsPerSession);
    this.#onGreeting?.();
  }

  opened(): void {
    throw new MalformedBytes('a head that nobody asked for');
  }

  forgotten(): void {
    if (this.#usable) this.#watcher.onFree();
    else this.retire();
  }

  drained(): void {
    this.retire();
  }

  broke(cause: Error): void {
    this.#cause = cause;
    this.#unusable();
  }

  closed(): void {
    this.#departures.stop();
    this.#unusable();
    this.#onEnd?.();
    this.#watcher.onClosed();
  }

  #unusable(): void {
    if (!this.#usable) return;
    this.#usable = false;
    this.#watcher.onUnusable(this.#cause);
  }
}

class FrameCall extends FrameStream implements LinkCall, Departure {
  readonly session: TlsSession;
  readonly outflow: FrameSent;
  readonly answer: Promise<LinkAnswer>;
  readonly #method: string;
  readonly #departures: Departures;
  #inflow: FrameReceived | undefined;
  #failure: Error | undefined;
  #resolve!: (answer: LinkAnswer) => void;
  #reject!: (cause: Error) => void;

  constructor(id: number, connection: StreamHost, method: string, departures: Departures) {
    super(id, connection);
    this.session = connection.facts;
    this.#method = method;
    this.#departures = departures;
    this.outflow = new FrameSent(this);
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.answer.catch(() => undefined); // whoever waits hears of it; nobody waiting is no crash
  }

  protected override get received(): FrameReceived | undefined {
    return this.#inflow;
  }

  protected override get sent(): FrameSent {
    return this.outflow;
  }

  override head(bytes: Buffer, from: number, to: number): void {
    if (this.#inflow !== undefined || !this.receiving) throw new MalformedBytes('a second head');
    const { status, fields, length } = decodeAnswer(bytes, from, to, this.connection.limits);
    const inflow = new FrameReceived(this, length, (cause) => this.abandon(cause));
    this.#inflow = inflow;
    if (length === undefined) this.weigh();
    if (this.#failure !== undefined) inflow.broke(this.#failure);
    else this.#accept(status, fields, length, inflow);
    if (length === 0) this.receivingEnded();
  }

  #accept(
    status: number,
    lines: Parameters<typeof plainLinkFields>[0],
    length: number | undefined,
    inflow: FrameReceived,
  ): void {
    try {
      if (isBodyless(this.#method, status) && length !== 0) throw broken('a body where none may be');
      this.#resolve({ head: { status, fields: plainLinkFields(lines) }, inflow });
    } catch (cause) {
      this.abandon(asBroken('answer', cause));
    }
  }

  protected override enough(): void {
    if (this.receiving) throw new MalformedBytes('enough before the answer was complete');
    this.outflow.broke(broken('answered before the request was complete'));
  }

  override finished(): void {}

  protected override broke(cause: Error): void {
    this.#failure ??= cause;
    this.#reject(cause);
    this.#inflow?.broke(cause);
    this.outflow.broke(cause);
  }

  protected override leave(): void {
    this.#departures.add(this);
  }

  get over(): boolean {
    return !this.sending && !this.receiving;
  }

  abort(cause: Error): void {
    if (this.#inflow?.complete === true && this.outflow.finished) return;
    this.abandon(cause);
  }
}
