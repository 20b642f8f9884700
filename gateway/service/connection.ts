import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import { Denied, Unavailable, describe } from '../core/errors.ts';
import type { Lent } from '../core/lending.ts';
import { answerDialect, type AnswerHead, type AnswerLines, type Question } from '../http1/answer-head.ts';
import { MessageReader } from '../http1/message-reader.ts';
import type { Call, Carrier } from './call.ts';
import type { ReadMemory } from './read-memory.ts';

/** More heads than this before the answer itself are no answer. */
const MAX_INTERIM = 16;

/** What a connection asks of its hop. */
export interface ConnectionHost {
  readonly timeoutMs: number;
  readonly memory: ReadMemory;
  /** The connection may carry the next call. @returns false when it is not wanted */
  free(connection: Connection, keepAliveSeconds: number | undefined): boolean;
  closed(connection: Connection): void;
}

/** One kept connection to a service, one call at a time. What comes without having been asked for ends it. */
export class Connection implements Carrier {
  /** How long it may be kept unused, in turns of the hop's broom; counted down by it. */
  idleTurns = 0;
  readonly #socket: Socket;
  readonly #host: ConnectionHost;
  readonly #question: Question = { method: '' };
  readonly #reader: MessageReader<AnswerHead, AnswerLines>;
  readonly #timer: NodeJS.Timeout;
  /** Whose memory the next read goes to; undefined: the common one. */
  #lent: Lent | undefined;
  #call: Call | undefined;
  #head: AnswerHead | undefined;
  #interim = 0;
  #established = false;
  /** Nothing is read. */
  #stopped = false;
  #cause: Error | undefined;

  /** From then on the service owes an answer. */
  readonly #hasAll = (): void => void this.#timer.refresh();

  /** @param open starts to connect; it is told how the socket is to be read */
  constructor(host: ConnectionHost, open: (onread: ReadInto, established: () => void) => Socket) {
    this.#host = host;
    this.#reader = new MessageReader(answerDialect(this.#question));
    this.#timer = setTimeout(() => this.#overdue(), host.timeoutMs).unref();
    this.#socket = open(
      { buffer: () => this.#memory(), callback: (length, bytes) => this.#received(length, bytes) },
      () => this.#connected(),
    );
    const socket = this.#socket;
    socket.on('drain', () => this.#drained());
    socket.on('end', () => this.destroy(new Error('the service closed the connection')));
    socket.on('error', (cause) => this.destroy(cause)); // of a TLS record that cannot be read Node only tells
    socket.on('close', () => this.#closed());
  }

  get usable(): boolean {
    return this.#cause === undefined && !this.#socket.destroyed;
  }

  /** Gives the connection its next call. */
  carry(call: Call): void {
    this.#call = call;
    this.#head = undefined;
    this.#interim = 0;
    this.#question.method = call.method;
    if (this.#established) this.#send(call);
  }

  resume(): void {
    this.#timer.refresh();
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#socket.resume();
  }

  pause(): void {
    this.#stopped = true;
    this.#socket.pause();
  }

  destroy(cause: Error): void {
    this.#cause ??= cause;
    this.#socket.destroy();
  }

  #connected(): void {
    this.#established = true;
    if (this.#call !== undefined) this.#send(this.#call);
  }

  #send(call: Call): void {
    this.#timer.refresh();
    call.send(this.#socket, this.#hasAll);
  }

  // —— what the socket reports ——

  #memory(): Buffer {
    return this.#lent?.bytes ?? this.#host.memory.common;
  }

  /** What the runtime would read into next is left to it: if nothing is, it is collected. */
  #disarm(): void {
    if (this.#lent !== undefined) this.#host.memory.disarm();
    this.#lent = undefined;
  }

  /** @returns false to be told of no more for now */
  #received(length: number, bytes: Uint8Array): boolean {
    const lent = this.#lent;
    const call = this.#call;
    if (call === undefined || !call.sent) {
      // Whoever could make a service say something ahead of time could choose the answer to the next question.
      this.destroy(new Unavailable('service.malformed', 'bytes that nobody asked for'));
      return false;
    }
    if (this.#head !== undefined) this.#timer.refresh();
    try {
      this.#reader.feed(Buffer.from(bytes.buffer, bytes.byteOffset, length));
      this.#read(call, lent);
    } catch (thrown) {
      this.destroy(asMalformed(thrown));
      return false;
    }
    const { memory } = this.#host;
    const bulk = this.#call === call && this.#head !== undefined && length * 2 >= memory.common.length;
    this.#disarm();
    lent?.done();
    this.#lent = bulk ? memory.arm() : undefined;
    const stop = this.#call === call && !call.wantsMore;
    if (this.#stopped && !stop) this.#socket.resume(); // by the sink of an answer that is over now
    this.#stopped = stop;
    return !stop;
  }

  /** @throws Denied framing.*, Unavailable service.malformed */
  #read(call: Call, lent: Lent | undefined): void {
    for (let event = this.#reader.next(); event !== undefined; event = this.#reader.next()) {
      switch (event.kind) {
        case 'head':
          this.#answered(call, event.head);
          break;
        case 'data':
          if (this.#head?.hasContent !== true) break; // of a 205
          if (lent === undefined) call.data(Buffer.from(event.chunk));
          else call.data(event.chunk, lent.share());
          break;
        case 'end':
          if (this.#head === undefined) break; // of an interim one (wire.md §3)
          this.#complete(call, this.#head);
          return;
      }
    }
  }

  #answered(call: Call, head: AnswerHead): void {
    if (head.status >= 200) {
      this.#head = head;
      this.#timer.refresh();
      call.answered(head);
    } else if (++this.#interim > MAX_INTERIM) {
      throw new Denied('framing.malformed', 'too many interim answers');
    }
  }

  #complete(call: Call, head: AnswerHead): void {
    this.#call = undefined;
    // A service that answers before it has read everything cannot be asked again here, nor one that says too much.
    const keeps =
      head.keeps && call.hasSentAll(this.#socket.writableLength) && this.#reader.unread === 0 && this.usable;
    if (!keeps || !this.#host.free(this, head.keepAliveSeconds))
      this.destroy(new Error('the connection is not kept'));
    call.completed();
  }

  #drained(): void {
    this.#timer.refresh();
    this.#call?.drained();
  }

  #overdue(): void {
    const call = this.#call;
    if (call === undefined || !this.#established) return;
    // It is not the service's time while it has everything we have for it, or while nobody takes its answer.
    if (call.waitsForUs(this.#head !== undefined, this.#socket.writableLength)) this.#timer.refresh();
    else this.destroy(new Unavailable('service.timeout', `nothing for ${this.#host.timeoutMs} ms`));
  }

  #closed(): void {
    clearTimeout(this.#timer);
    this.#disarm();
    this.#host.closed(this);
    const call = this.#call;
    this.#call = undefined;
    call?.failed(this.#verdict());
  }

  /** Which of the provider's failures it was: not reachable, too slow, broken off, or no HTTP. */
  #verdict(): Error {
    const cause = this.#cause;
    if (cause instanceof Denied || cause instanceof Unavailable) return cause;
    // Of several addresses none of which could be reached, only the code says why.
    const code = cause !== undefined && 'code' in cause ? ` (${String(cause.code)})` : '';
    const detail = cause === undefined ? 'the connection was closed' : describe(cause) + code;
    // Before it was established no byte of the request has left.
    return new Unavailable(this.#established ? 'service.broken' : 'service.unreachable', detail, { cause });
  }
}

/** How Node is told to read a socket into memory of ours. */
export interface ReadInto {
  readonly buffer: () => Buffer;
  readonly callback: (length: number, bytes: Uint8Array) => boolean;
}

function asMalformed(thrown: unknown): Error {
  if (thrown instanceof Denied)
    return new Unavailable('service.malformed', thrown.message, { cause: thrown });
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
