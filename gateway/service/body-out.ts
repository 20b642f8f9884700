import type { Socket } from 'node:net';
import type { Loan, Outflow, OutflowEvents } from '../core/flow.ts';

/** The way of one request's body onto the connection, in pieces. Sizes and ends are ours. */
export class BodyOut implements Outflow {
  readonly destroy: (cause: Error) => void;
  readonly #chunked: boolean;
  /** Content bytes still owed, when they are counted. */
  #owed: number;
  #socket: Socket | undefined;
  #events: OutflowEvents | undefined;
  /** What was written before there was a connection. */
  #early: { readonly chunk: Buffer; readonly loan: Loan | undefined }[] = [];
  #last: Buffer | undefined;
  #state: 'open' | 'ended' | 'finished' | 'failed' = 'open';
  #failure: Error | undefined;
  #onFinish: (() => void) | undefined;

  /**
   * @param length undefined: chunked
   * @param abort gives the whole call up
   */
  constructor(length: number | undefined, abort: (cause: Error) => void) {
    this.#chunked = length === undefined;
    this.#owed = length ?? 0;
    this.destroy = abort;
  }

  /** Everything was handed to the operating system. */
  get finished(): boolean {
    return this.#state === 'finished';
  }

  /**
   * The head was written to this connection; what waited goes behind it.
   * @param finished told when everything was handed to the operating system
   */
  begin(socket: Socket, finished: () => void): void {
    this.#socket = socket;
    this.#onFinish = finished;
    const early = this.#early;
    this.#early = [];
    for (const { chunk, loan } of early) this.#content(socket, chunk, loan);
    if (this.#state === 'ended') this.#end(socket);
    else if (!socket.writableNeedDrain) this.#events?.drain();
  }

  attach(events: OutflowEvents): void {
    this.#events = events;
    const failure = this.#failure;
    if (failure !== undefined) queueMicrotask(() => events.error(failure));
    else if (this.#state === 'finished') queueMicrotask(() => events.finish());
  }

  write(chunk: Buffer, loan?: Loan): boolean {
    if (this.#state !== 'open') return false;
    if (this.#socket !== undefined) return this.#content(this.#socket, chunk, loan);
    this.#early.push({ chunk, loan });
    return false;
  }

  end(last: Buffer | undefined): void {
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    this.#last = last;
    if (this.#socket !== undefined) this.#end(this.#socket);
  }

  drained(): void {
    if (this.#state === 'open') this.#events?.drain();
  }

  fail(cause: Error): void {
    if (this.#state === 'finished' || this.#state === 'failed') return;
    this.#state = 'failed';
    this.#failure = cause;
    this.#early = [];
    this.#events?.error(cause);
  }

  #content(socket: Socket, chunk: Buffer, loan: Loan | undefined): boolean {
    // An empty chunk would be the end of a chunked body.
    if (chunk.length === 0) return !socket.writableNeedDrain;
    const written = loan === undefined ? undefined : (error?: Error | null) => void (error ?? loan.done());
    if (this.#chunked) {
      socket.cork(); // size, content and line end leave in one system call
      socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
      socket.write(chunk, written);
      const roomy = socket.write('\r\n', 'latin1');
      socket.uncork();
      return roomy;
    }
    this.#owed -= chunk.length;
    if (this.#owed < 0) {
      this.destroy(new Error('more content than announced'));
      return false;
    }
    return socket.write(chunk, written);
  }

  #end(socket: Socket): void {
    if (this.#last !== undefined) this.#content(socket, this.#last, undefined);
    if (this.#owed > 0) this.destroy(new Error(`request ${this.#owed} bytes short`));
    if (socket.destroyed) return;
    socket.write(this.#chunked ? '0\r\n\r\n' : '', 'latin1', (error) => {
      if (error !== undefined && error !== null) return; // the connection tells everybody
      if (this.#state !== 'ended') return;
      this.#state = 'finished';
      this.#onFinish?.();
      this.#events?.finish();
    });
  }
}
