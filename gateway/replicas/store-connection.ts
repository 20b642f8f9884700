import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe } from '../core/errors.ts';
import { encodeCommand, ReplyReader, StoreError, type Reply } from './resp.ts';

/** How to reach the store. */
export interface StoreAddress {
  readonly host: string;
  readonly port: number;
  /** Number of the database. */
  readonly database: number;
  /** Undefined: plain TCP, for a store on this machine. */
  readonly tls: { readonly ca: string | Buffer | undefined } | undefined;
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** For connecting, and for each answer. Milliseconds. */
  readonly timeoutMs: number;
}

/** More commands than any gateway has exchanges in flight: beyond, somebody does not answer. */
const MAX_WAITING = 65_536;

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (cause: Error) => void;
}

/**
 * One connection, from its opening to its end. Commands are pipelined, and the answers clock them: what comes while
 * answers are awaited goes out together when they have come, so that the cost of a system call is shared under load.
 */
export class StoreConnection {
  /** Resolves with the reason when the connection is gone. */
  readonly gone: Promise<Error>;
  readonly #socket: Socket;
  readonly #reader = new ReplyReader();
  readonly #timer: NodeJS.Timeout;
  readonly #end = Promise.withResolvers<Error>();
  #held = '';
  #holding: Waiting[] = [];
  /** Sent and not answered, in order; those before `#answered` are done with. */
  #sent: Waiting[] = [];
  #answered = 0;
  #scheduled = false;
  #ended: Error | undefined;

  private constructor(socket: Socket, timeoutMs: number, patienceMs: number) {
    this.#socket = socket;
    this.gone = this.#end.promise;
    this.#timer = setTimeout(() => this.#overdue(), timeoutMs + patienceMs).unref();
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (cause) => this.destroy(cause));
    socket.on('close', () => this.destroy(new Error('the store closed the connection')));
  }

  /**
   * @param patienceMs how long a command may hold its answer back by itself (XREAD BLOCK)
   * @throws Error, StoreError when the store cannot be reached or does not let us in
   */
  static async open(address: StoreAddress, patienceMs = 0): Promise<StoreConnection> {
    const { host, port, tls, user, password, database, timeoutMs } = address;
    const socket =
      tls === undefined
        ? connectPlain({ host, port })
        : connectTls({
            host,
            port,
            minVersion: 'TLSv1.2',
            ...(tls.ca === undefined ? {} : { ca: tls.ca }),
            // An address has no name to ask for (RFC 6066 §3).
            ...(/[:]|^[\d.]+$/.test(host) ? {} : { servername: host }),
          });
    const connection = new StoreConnection(socket, timeoutMs, patienceMs);
    try {
      if (password !== undefined)
        await connection.ask(user === undefined ? ['AUTH', password] : ['AUTH', user, password]);
      if (database !== 0) await connection.ask(['SELECT', String(database)]);
      await connection.ask(['PING']);
      return connection;
    } catch (cause) {
      connection.destroy(cause instanceof Error ? cause : new Error(String(cause)));
      throw cause;
    }
  }

  /** @throws Error when no answer will come; StoreError when the answer is one */
  async ask(words: readonly string[]): Promise<Exclude<Reply, StoreError>> {
    const reply = await this.send(words);
    if (reply instanceof StoreError) throw reply;
    return reply;
  }

  /** @throws Error when no answer will come: whether the command was carried out is then unknown */
  send(words: readonly string[]): Promise<Reply> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (this.#holding.length + this.#sent.length - this.#answered >= MAX_WAITING)
      return Promise.reject(new Error(`${MAX_WAITING} commands wait for the store`));
    return new Promise((resolve, reject) => {
      this.#held += encodeCommand(words);
      this.#holding.push({ resolve, reject });
      if (this.#sent.length > 0 || this.#scheduled) return;
      this.#scheduled = true;
      queueMicrotask(() => this.#flush());
    });
  }

  destroy(cause: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = cause;
    clearTimeout(this.#timer);
    this.#socket.destroy();
    for (const { reject } of [...this.#sent.slice(this.#answered), ...this.#holding]) reject(cause);
    this.#sent = [];
    this.#holding = [];
    this.#end.resolve(cause);
  }

  #flush(): void {
    this.#scheduled = false;
    if (this.#ended !== undefined || this.#holding.length === 0) return;
    this.#sent = this.#holding;
    this.#answered = 0;
    this.#holding = [];
    this.#socket.write(this.#held);
    this.#held = '';
    this.#timer.refresh();
  }

  #take(chunk: Buffer): void {
    try {
      for (const reply of this.#reader.read(chunk)) {
        const waiting = this.#sent[this.#answered];
        if (waiting === undefined) throw new Error('the store answered what nobody asked');
        this.#answered += 1;
        waiting.resolve(reply);
      }
    } catch (cause) {
      this.destroy(cause instanceof Error ? cause : new Error(describe(cause)));
      return;
    }
    if (this.#answered < this.#sent.length) return;
    this.#sent = [];
    this.#answered = 0;
    this.#flush();
  }

  /** The timer runs always, because starting and stopping one for each batch costs more; it means something at times. */
  #overdue(): void {
    if (this.#sent.length > 0) this.destroy(new Error('the store does not answer'));
    else this.#timer.refresh();
  }
}
