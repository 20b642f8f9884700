import { MalformedBytes } from '../core/errors.ts';
import type { Fields } from '../core/fields.ts';
import type { Lent } from '../core/lending.ts';
import { plainLinkFields } from '../message/headers.ts';
import { asBroken, broken } from './failures.ts';
import { decodeTrailers, type HeadLimits } from './frame-head.ts';
import type { BodyHost } from './frame-host.ts';
import type { FrameReceived } from './frame-received.ts';
import type { FrameSent } from './frame-sent.ts';
import { CODE, FIRST_CREDIT, KIND, type Code } from './frames.ts';
import type { TlsSession } from './tls.ts';

/** Most credit that one stream can hold: far more than a window, far from an overflow. */
const MAX_CREDIT = 2 ** 30;

/** The connection, as its streams see it. */
export type StreamHost = BodyHost['connection'] & {
  readonly facts: TlsSession;
  /** What we take in a head. */
  readonly limits: HeadLimits;
  /** Streams with a body under way, which small messages should not have to share a connection with. */
  heavy: number;
  /** The stream is over. */
  forget(stream: FrameStream): void;
};

/**
 * One exchange on a connection, as either end sees it. Each direction ends exactly once: with the announced length,
 * with trailers, or with RESET. Who gets a RESET while its own direction is open answers with one; so both ends know
 * when a stream is over, and a frame for one that is over is no accident (RESET and CREDIT can cross the end).
 */
export abstract class FrameStream implements BodyHost {
  readonly id: number;
  readonly connection: StreamHost;
  /** Bytes of DATA that we may send. */
  credit = FIRST_CREDIT;
  /** Our direction is open. */
  sending = true;
  /** The other side's direction is open. */
  receiving = true;
  heavy = false;
  #abandoned = false;

  constructor(id: number, connection: StreamHost) {
    this.id = id;
    this.connection = connection;
  }

  /** Undefined until the head of the message came. */
  protected abstract get received(): FrameReceived | undefined;
  /** Undefined until we have sent the head of ours. */
  protected abstract get sent(): FrameSent | undefined;

  /** The answer's head. @throws MalformedBytes */
  abstract head(bytes: Buffer, from: number, to: number): void;
  /** The other side has answered and wants no more of the request. @throws MalformedBytes */
  protected abstract enough(): void;
  /** Our whole message was handed over. */
  abstract finished(): void;
  /** Both directions are broken off. @param theirs by the other side, not by us and not with the connection */
  protected abstract broke(cause: Error, theirs: boolean): void;

  /** A body of any size will pass: it counts for more than a small message. */
  weigh(): void {
    if (this.heavy) return;
    this.heavy = true;
    this.connection.heavy++;
  }

  grant(bytes: number): void {
    this.connection.output.control(KIND.credit, this.id, bytes);
  }

  sendingEnded(): void {
    this.sending = false;
    if (!this.receiving) this.connection.forget(this);
  }

  protected receivingEnded(): void {
    this.receiving = false;
    if (!this.sending) this.connection.forget(this);
  }

  /** We break off: what still comes is dropped until the other side has heard of it. */
  abandon(cause: Error): void {
    this.broke(cause, false);
    if (this.#abandoned || (!this.sending && !this.receiving)) return;
    this.#abandoned = true;
    this.leave();
  }

  /** Tells the other side that we broke off. */
  protected leave(): void {
    this.reset();
  }

  reset(code: Code = CODE.cancel): void {
    this.connection.output.control(KIND.reset, this.id, code);
    if (this.sending) this.sendingEnded();
  }

  /** @throws MalformedBytes */
  data(bytes: number): void {
    if (!this.receiving || this.received === undefined) throw new MalformedBytes('data where none may be');
    this.received.expect(bytes);
  }

  part(bytes: Buffer, lent: Lent): void {
    if (this.received?.part(bytes, lent) === true) this.receivingEnded();
  }

  /** @throws MalformedBytes */
  trailers(bytes: Buffer, from: number, to: number): void {
    const { received } = this;
    if (!this.receiving || received?.endsWithTrailers !== true) {
      throw new MalformedBytes('trailers where none may be');
    }
    received.ended(readTrailers(decodeTrailers(bytes, from, to, this.connection.limits)));
    this.receivingEnded();
  }

  /** @throws MalformedBytes */
  credited(bytes: number): void {
    if (bytes === 0 || this.credit + bytes > MAX_CREDIT) throw new MalformedBytes(`credit of ${bytes}`);
    this.credit += bytes;
    this.sent?.wake();
  }

  /** The other side broke off. @throws MalformedBytes */
  wasReset(code: number): void {
    if (code === CODE.enough) this.enough();
    else this.broke(broken(`the other side reset the stream (code ${code})`), !this.#abandoned);
    this.receiving = false;
    if (this.sending) this.reset();
    else this.connection.forget(this);
  }

  /** The connection is gone. */
  lost(cause: Error): void {
    this.sending = this.receiving = false;
    this.broke(cause, false);
  }
}

/** What is well framed and still not acceptable fails the message, not the connection. */
function readTrailers(lines: Parameters<typeof plainLinkFields>[0]): Fields | Error {
  try {
    return plainLinkFields(lines);
  } catch (cause) {
    return asBroken('trailers', cause);
  }
}
