import { MalformedBytes } from '../core/errors.ts';
import type { Outflow } from '../core/flow.ts';
import type { ResponseHead } from '../core/head.ts';
import { GoneBody } from './body.ts';
import { asBroken, broken } from './failures.ts';
import { FrameConnection, type FrameRole } from './frame-connection.ts';
import { decodeRequest, EncodedHead } from './frame-head.ts';
import { FrameReceived } from './frame-received.ts';
import { FrameSent } from './frame-sent.ts';
import { FrameStream, type StreamHost } from './frame-stream.ts';
import { isBodyless, wholeOf } from './framing.ts';
import { CODE, KIND } from './frames.ts';
import { GoneNotice } from './gone.ts';
import type { LinkArrival, LinkBody, LinkRawHead } from './link.ts';
import type { Rate } from './rate.ts';
import { resetRate, type ServerSession, type ServerSessionOptions } from './server-session.ts';
import type { TlsSession } from './tls.ts';

/** A gateway of ours closes at once when it is asked to; whoever does not is left when it is idle after this. */
const FAREWELL_MS = 1000;

/** Our end of a `troad/1` connection that a consumer's gateway opened. */
export class FrameServerSession implements ServerSession, FrameRole {
  readonly facts: TlsSession;
  readonly #connection: FrameConnection;
  readonly #options: ServerSessionOptions;
  readonly #resets: Rate;
  #state: 'open' | 'retiring' | 'leaving' = 'open';
  /** Since the last exchange ended, or the connection was opened. */
  readonly #idle: NodeJS.Timeout;

  constructor(facts: TlsSession, options: ServerSessionOptions) {
    this.facts = facts;
    this.#options = options;
    this.#resets = resetRate(options.clock, options.limits);
    this.#connection = new FrameConnection(facts, options.limits, options.clock, this);
    this.#idle = setTimeout(() => this.#wasIdle(), options.limits.idleMs).unref();
  }

  greeted(): void {}

  opened(id: number, bytes: Buffer, from: number, to: number): void {
    const connection = this.#connection;
    const { clock, limits, onArrival } = this.#options;
    if (id !== connection.last + 1) throw new MalformedBytes('not the next stream');
    if (clock.now() >= this.facts.expires) {
      return this.destroy(broken('the certificate of the other side has expired'));
    }
    // An answer that crosses a new request makes the two ends count differently, but never by this much.
    if (connection.active >= 2 * limits.streamsPerSession) {
      return connection.destroy(broken('more exchanges at once than allowed'), CODE.flood);
    }
    const head = decodeRequest(bytes, from, to, connection.limits);
    const arrival = new FrameArrival(id, connection, head, () => this.#meterReset());
    connection.add(arrival);
    try {
      onArrival(arrival);
    } catch (cause) {
      arrival.abort(asBroken('arrival', cause));
    }
  }

  #meterReset(): void {
    if (!this.#resets.take()) {
      this.#connection.destroy(broken('too many streams were reset'), CODE.flood);
    }
  }

  forgotten(): void {
    if (this.#connection.active > 0) return;
    if (this.#state === 'open') this.#idle.refresh();
    else if (this.#state === 'leaving') this.#connection.end();
  }

  drained(): void {
    throw new MalformedBytes('only the accepting side asks for an end');
  }

  broke(cause: Error): void {
    this.#options.onBroken(cause);
  }

  closed(): void {
    clearTimeout(this.#idle);
    this.#options.onClosed();
  }

  /** The end of an exchange that is running will wind it up again. */
  #wasIdle(): void {
    if (this.#connection.active === 0) this.retire();
  }

  retire(): void {
    if (this.#state !== 'open' || this.#connection.destroyed) return;
    this.#state = 'retiring';
    this.#connection.output.control(KIND.drain, 0);
    clearTimeout(this.#idle);
    setTimeout(() => {
      this.#state = 'leaving';
      if (this.#connection.active === 0 && !this.#connection.destroyed) this.#connection.end();
    }, FAREWELL_MS).unref();
  }

  destroy(cause: Error): void {
    this.#connection.destroy(cause, CODE.gone);
  }
}

class FrameArrival extends FrameStream implements LinkArrival {
  readonly session: TlsSession;
  readonly rawHead: LinkRawHead;
  readonly endsWithHead: boolean;
  readonly inflow: FrameReceived;
  readonly #onReset: () => void;
  #sent: FrameSent | undefined;
  #gone: GoneNotice | undefined;
  #failure: Error | undefined;

  constructor(id: number, connection: StreamHost, rawHead: LinkRawHead, onReset: () => void) {
    super(id, connection);
    this.session = connection.facts;
    this.rawHead = rawHead;
    this.endsWithHead = rawHead.length === 0;
    this.#onReset = onReset;
    this.receiving = !this.endsWithHead;
    // Refused content gets no more credit; the answer, or the abort, does the rest.
    this.inflow = new FrameReceived(this, rawHead.length, () => undefined);
  }

  protected override get received(): FrameReceived {
    return this.inflow;
  }

  protected override get sent(): FrameSent | undefined {
    return this.#sent;
  }

  override head(): void {
    throw new MalformedBytes('a second head');
  }

  answer(head: ResponseHead, body: LinkBody): Outflow {
    if (this.#sent !== undefined) throw new Error('answered twice');
    const whole = wholeOf(body, isBodyless(this.rawHead.method, head.status));
    const encoded = EncodedHead.answer(head, whole?.length, this.connection.accepted);
    const sent = new FrameSent(this);
    this.#sent = sent;
    if (!this.sending) return new GoneBody(this.#failure ?? broken('the other side left'));
    this.connection.output.head(KIND.head, this.id, encoded);
    if (whole !== undefined) sent.whole(whole);
    return sent;
  }

  protected override enough(): void {
    throw new MalformedBytes('enough of an answer');
  }

  /** A complete answer to an incomplete request asks its sender to stop uploading. */
  override finished(): void {
    if (!this.receiving) return;
    this.inflow.broke(broken('answered before the request was complete'));
    this.reset(CODE.enough);
  }

  protected override broke(cause: Error, theirs: boolean): void {
    if (this.#sent?.finished === true) return;
    this.#failure ??= cause;
    this.inflow.broke(cause);
    this.#sent?.broke(cause);
    (this.#gone ??= new GoneNotice()).tell(cause);
    if (theirs) this.#onReset();
  }

  abort(cause: Error): void {
    if (this.#sent?.finished !== true) this.abandon(cause);
  }

  onGone(listener: (cause: Error) => void): void {
    (this.#gone ??= new GoneNotice()).listen(listener);
  }
}
