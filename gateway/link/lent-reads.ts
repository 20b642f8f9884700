import type { TLSSocket } from 'node:tls';
import type { OnReadOpts } from 'node:net';
import { Lending, lentChunk, type Lent } from '../core/lending.ts';

/** TLS hands over a record at a time. */
const RECORD_BYTES = 16 * 1024;
/** What a worker keeps for all its connections: about a window of one stream. */
const LENDING = new Lending(RECORD_BYTES, 64);

/** Takes bytes as they come. Whoever wants to keep a part shares `lent` and says when it is done with. */
export type TakeBytes = (bytes: Buffer, lent: Lent) => void;

/**
 * Reads a connection that we open into lent buffers. It has to be set up before the handshake says which protocol there
 * will be: until somebody takes the bytes they go into the socket's own stream, copied.
 */
export class LentReads {
  readonly onread: OnReadOpts;
  /** The runtime writes into this one next. */
  #armed = LENDING.take();
  #take: TakeBytes | undefined;

  /** @param socketOf the socket that was made with `onread` */
  constructor(socketOf: () => TLSSocket) {
    this.onread = {
      buffer: () => this.#armed.bytes,
      // A TLS connection goes on telling what it has deciphered whatever is returned, so each call needs memory that
      // nobody else reads any more.
      callback: (length, memory) => {
        const bytes = Buffer.from(memory.buffer, memory.byteOffset, length);
        if (this.#take === undefined) return socketOf().push(Buffer.from(bytes));
        this.#take(bytes, this.#armed);
        if (this.#armed.shared) {
          this.#armed.done();
          this.#armed = LENDING.take();
        }
        return true;
      },
    };
  }

  /** From here everything goes to `take`, beginning with what the stream has already. */
  begin(socket: TLSSocket, take: TakeBytes): void {
    const early: unknown = socket.read(); // Buffer or null: no encoding is set
    this.#take = take;
    if (!Buffer.isBuffer(early)) return;
    // Not from inside the caller, who is not ready yet; and before any more can come.
    queueMicrotask(() => {
      const lent = lentChunk(early);
      take(early, lent);
      lent.done();
    });
  }
}
