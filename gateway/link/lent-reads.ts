import type { OnReadOpts } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Lending, lentChunk, type Lent } from '../core/lending.ts';

/** The longest TLS record; the runtime hands over one at a time. Who has more to send fills each but the last. */
const RECORD_BYTES = 16 * 1024;
// What a worker keeps for all its connections. The large ones hold the records of a body side by side, so that they are
// hashed and passed on as one piece.
const SMALL = new Lending(RECORD_BYTES, 64);
const LARGE = new Lending(8 * RECORD_BYTES, 16);

/** Takes bytes as they come. Whoever wants to keep a part shares `lent` and says when it is done with. */
export type TakeBytes = (bytes: Buffer, lent: Lent) => void;

/**
 * Reads a connection that we open into lent buffers. It has to be set up before the handshake says which protocol there
 * will be: until somebody takes the bytes they go into the socket's own stream, copied.
 */
export class LentReads {
  readonly onread: OnReadOpts;
  /** What the runtime writes into: whatever is done with its bytes, it is ours until another was given in its place. */
  #block = SMALL.take();
  /** Of the block: bytes that were handed over, and bytes that came. */
  #taken = 0;
  #came = 0;
  #take: TakeBytes | undefined;
  #scheduled = false;
  readonly #onTurn = (): void => {
    this.#scheduled = false;
    this.#deliver();
  };

  /** @param socketOf the socket that was made with `onread` */
  constructor(socketOf: () => TLSSocket) {
    this.onread = {
      // A TLS connection goes on telling what it has deciphered whatever the callback returns, so each record needs
      // memory that nobody else reads any more.
      buffer: () => this.#block.bytes.subarray(this.#came),
      callback: (length) => {
        const began = this.#came;
        this.#came += length;
        if (this.#take !== undefined) this.#next(length);
        else {
          this.#came = 0;
          return socketOf().push(Buffer.from(this.#block.bytes.subarray(began, began + length)));
        }
        return true;
      },
    };
  }

  /** From here everything goes to `take`, beginning with what the stream has already. */
  begin(socket: TLSSocket, take: TakeBytes): void {
    const early: unknown = socket.read(); // Buffer or null: no encoding is set
    this.#take = take;
    // What came before the end is told before it.
    for (const last of ['end', 'error'] as const) socket.on(last, () => this.#deliver());
    if (!Buffer.isBuffer(early)) return;
    // Not from inside the caller, who is not ready yet; and before any more can come.
    queueMicrotask(() => {
      const lent = lentChunk(early);
      take(early, lent);
      lent.done();
    });
  }

  #next(length: number): void {
    const full = length === RECORD_BYTES;
    if (full && this.#came + RECORD_BYTES <= this.#block.bytes.length) {
      // More is on its way, or this turn of the loop brings no more.
      if (!this.#scheduled) setImmediate(this.#onTurn);
      this.#scheduled = true;
      return;
    }
    this.#deliver();
    this.#block.done();
    this.#block = (full ? LARGE : SMALL).take();
    this.#taken = this.#came = 0;
  }

  #deliver(): void {
    if (this.#taken === this.#came) return;
    const bytes = this.#block.bytes.subarray(this.#taken, this.#came);
    this.#taken = this.#came;
    this.#take?.(bytes, this.#block);
  }
}
