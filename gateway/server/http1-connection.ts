import type { Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import { lentChunk, type Lent } from '../core/lending.ts';
import { Denied } from '../core/errors.ts';
import type { ResponseHead } from '../core/head.ts';
import type { RefusalCode } from '../core/refusals.ts';
import type { ClientConnection, Consume } from '../exchange/arrival.ts';
import { writeWhole } from '../http1/message-writer.ts';
import { RequestReader } from '../http1/request-reader.ts';
import { formatHead } from './http1-answer.ts';
import { gone, incomplete, Http1Exchange, type ExchangeHost } from './http1-exchange.ts';
import type { AnswerWishes, HeadLimits } from '../http1/request-head.ts';

export interface ConnectionLimits extends HeadLimits {
  /** From the first byte of a head (or from the connection) to its last, milliseconds. */
  readonly headMs: number;
  /** Between requests on a kept connection, milliseconds. */
  readonly idleMs: number;
  /** How long what a refused client still sends is read and dropped, so that it can read the answer, milliseconds. */
  readonly lingerMs: number;
}

/** The answer to a request that was refused before anything was known but its bytes. */
export type RefusalAnswer = (
  code: RefusalCode,
  wishes: AnswerWishes,
) => { readonly head: ResponseHead; readonly bytes: Buffer };

/** What all connections of one listener share. */
export interface ConnectionHost {
  readonly consume: Consume;
  readonly clock: Clock;
  readonly limits: ConnectionLimits;
  readonly refusalAnswer: RefusalAnswer;
  readonly onFramingRefusal: (code: RefusalCode, remote: string) => void;
  readonly draining: boolean;
}

/**
 * One HTTP/1.1 connection of a client system: one request at a time. Bytes that come before the answer to the last
 * request is out are never read as a request; the connection ends after that answer (RFC 9112 §9.3.2 lets clients
 * pipeline, and answers to the wrong question are what attackers make of it).
 */
export class Http1Connection implements ExchangeHost {
  readonly #socket: Socket;
  readonly #facts: ClientConnection;
  readonly #host: ConnectionHost;
  readonly #reader: RequestReader;
  #exchange: Http1Exchange | undefined;
  #pumping = false;
  /** What content that is being read lies in, as long as all of it is passed on in this turn. */
  #lent: Lent | undefined;
  #state: 'open' | 'lingering' | 'broken' = 'open';
  #earlyBytes = false;
  #cause: Error | undefined;
  /** Monotonic milliseconds at which {@link sweep} acts; infinite while an exchange runs (it has its own deadlines). */
  #deadline: number;

  constructor(socket: Socket, facts: ClientConnection, host: ConnectionHost) {
    this.#socket = socket;
    this.#facts = facts;
    this.#host = host;
    this.#reader = new RequestReader(host.limits);
    this.#deadline = host.clock.monotonic() + host.limits.headMs;
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('drain', () => this.#drained());
    socket.on('end', () => this.#halfClosed());
    socket.on('error', (cause) => {
      this.#cause ??= cause;
      socket.destroy(); // of a TLS record that cannot be read Node only tells
    });
    socket.on('close', () => this.#closed());
  }

  // —— what the listener asks ——

  /** Acts on a deadline that has passed. */
  sweep(now: number): void {
    if (now < this.#deadline) return;
    // Nobody asked anything: an answer now could be taken for that of a request which is on its way.
    if (this.#state !== 'open' || this.#exchange !== undefined || this.#reader.idle) this.#drop(gone());
    else this.#refuse(new Denied('framing.timeout', 'head not complete'));
  }

  /** The listener ends: idle connections go now, others after their answer. */
  drain(): void {
    if (this.#state === 'open' && this.#exchange === undefined && this.#reader.idle) this.#linger();
  }

  // —— what the exchange asks ——

  get closing(): boolean {
    return this.#earlyBytes || this.#host.draining;
  }

  proceed(): void {
    if (this.#state !== 'open') return;
    // Not from inside the caller: a sink hears nothing before `start` has returned.
    queueMicrotask(() => {
      if (this.#state !== 'open') return;
      this.#pump();
      if (this.#wantsMore()) this.#socket.resume();
    });
  }

  pause(): void {
    this.#socket.pause();
  }

  skipPresent(): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    try {
      for (let event = this.#reader.next(); event !== undefined; event = this.#reader.next()) {
        if (event.kind !== 'end') continue;
        this.#requestEnded(exchange);
        return;
      }
    } catch (thrown) {
      exchange.requestFailed(asError(thrown));
    }
  }

  answered(): void {
    const exchange = this.#exchange;
    if (exchange === undefined || this.#state !== 'open' || !exchange.answerComplete) return;
    if (exchange.flowing) {
      // Content that is still wanted may come: the answer of a service can be shorter than the question.
      this.#deadline = this.#host.clock.monotonic() + this.#host.limits.idleMs;
    } else if (exchange.endsConnection || this.closing || !exchange.requestComplete) {
      this.#linger();
    } else {
      exchange.release();
      this.#exchange = undefined;
      this.#deadline = this.#host.clock.monotonic() + this.#host.limits.idleMs;
      // Who does not read its answers gets no more of them: they would pile up here.
      if (this.#unsent) this.#socket.pause();
      else this.#socket.resume();
    }
  }

  /** Ends the connection so that nothing looks complete. */
  break(cause: Error): void {
    if (this.#state === 'broken') return;
    this.#state = 'broken';
    this.#cause ??= cause;
    // A reset cannot be taken for an end. TLS sockets have none; there the missing close_notify and framing tell.
    // Nor can what has ended already be reset: the runtime would refuse, and keep the descriptor for ever.
    if (this.#facts.tls || this.#socket.writableEnded) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
    this.#exchange?.closed(cause, true);
  }

  // —— what the socket reports ——

  #received(chunk: Buffer): void {
    if (this.#state !== 'open') return; // lingering: dropped
    const { clock, limits } = this.#host;
    if (this.#exchange === undefined) {
      if (this.#reader.idle) this.#deadline = clock.monotonic() + limits.headMs;
    } else if (this.#exchange.answerComplete) this.#deadline = clock.monotonic() + limits.idleMs;
    // Of a chunk with a head in it somebody may keep a part.
    const lent = this.#exchange?.flowing === true ? lentChunk(chunk) : undefined;
    this.#lent = lent;
    this.#reader.feed(chunk);
    this.#pump();
    this.#lent = undefined;
    if (lent !== undefined && this.#reader.letGo()) lent.done();
  }

  /** The socket takes no more for now, and will say when it does. */
  get #unsent(): boolean {
    return this.#socket.writableLength >= this.#socket.writableHighWaterMark;
  }

  #drained(): void {
    if (this.#exchange !== undefined) this.#exchange.drained();
    else if (this.#state === 'open') this.#socket.resume();
  }

  /** Reads on as far as somebody takes what is read. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#wantsMore()) {
        const event = this.#reader.next();
        if (event === undefined) return;
        if (event.kind === 'head') {
          this.#exchange = new Http1Exchange(this.#facts, event.head, this.#socket, this);
          this.#deadline = Infinity;
          // A message without content is complete with its head.
          if (event.head.length === 0 && this.#reader.next() !== undefined)
            this.#requestEnded(this.#exchange);
          this.#host.consume(this.#exchange);
        } else if (event.kind === 'data') this.#exchange?.data(event.chunk, this.#lent?.share());
        else if (this.#exchange !== undefined) this.#requestEnded(this.#exchange);
      }
      if (this.#state === 'open') this.#hold();
    } catch (thrown) {
      this.#refuse(thrown);
    } finally {
      this.#pumping = false;
    }
  }

  /** Nobody takes more: what comes waits in the kernel. */
  #hold(): void {
    if (this.#exchange?.requestComplete === true) {
      if (this.#reader.unread > 0) this.#refuseEarlyBytes();
    } else if (!this.#reader.hasRest) this.#socket.pause();
    // Else all has come. Reading goes on, because that is how we learn that the client has left.
  }

  #wantsMore(): boolean {
    if (this.#state !== 'open') return false;
    return this.#exchange === undefined || this.#exchange.flowing;
  }

  #requestEnded(exchange: Http1Exchange): void {
    if (this.#reader.unread > 0) this.#refuseEarlyBytes();
    exchange.requestEnded();
    this.answered();
  }

  #refuseEarlyBytes(): void {
    this.#socket.pause();
    if (this.#earlyBytes) return;
    this.#earlyBytes = true;
    this.#host.onFramingRefusal('framing.malformed', this.#facts.remote);
  }

  #refuse(thrown: unknown): void {
    if (!(thrown instanceof Denied)) return this.break(asError(thrown));
    if (this.#exchange !== undefined) {
      // The message path knows about this request: it decides whether an answer is still possible.
      this.#socket.pause();
      this.#exchange.requestFailed(thrown);
      return this.answered();
    }
    const { code } = thrown;
    this.#host.onFramingRefusal(code, this.#facts.remote);
    const { head, bytes } = this.#host.refusalAnswer(code, this.#reader.wishes);
    const length = { kind: 'counted', length: bytes.length } as const;
    writeWhole(this.#socket, formatHead(head, length, true), bytes);
    this.#linger();
  }

  /** Half-closes, and reads and drops for a while: closing with unread bytes would make TCP take the answer back. */
  #linger(): void {
    const { clock, limits } = this.#host;
    this.#state = 'lingering';
    this.#deadline = clock.monotonic() + limits.idleMs; // to take the answer
    this.#socket.end(() => (this.#deadline = clock.monotonic() + limits.lingerMs));
    this.#socket.resume();
  }

  #halfClosed(): void {
    const exchange = this.#exchange;
    if (this.#state !== 'open') return; // the socket closes itself when our side has ended as well
    if (exchange === undefined) return void this.#socket.end();
    // Whoever has sent all and closes does not wait for the answer. A client cut short may still read why.
    if (exchange.requestComplete || this.#reader.hasRest) return this.#drop(gone());
    exchange.requestFailed(incomplete());
    this.answered();
  }

  #drop(cause: Error): void {
    this.#cause ??= cause;
    this.#socket.destroy();
  }

  #closed(): void {
    const cause = this.#cause ?? gone();
    const byUs = this.#state === 'broken';
    this.#state = 'broken';
    this.#exchange?.closed(cause, byUs);
  }
}

const asError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));
