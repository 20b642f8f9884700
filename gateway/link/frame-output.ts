import type { TLSSocket } from 'node:tls';
import type { EncodedHead } from './frame-head.ts';
import { HEADER_BYTES, KIND, writeHeader, type Kind } from './frames.ts';

/** What fits is copied beside its header; what does not goes by reference. TLS copies small pieces together anyway. */
const COPY_BYTES = 4 * 1024;
const SLAB_BYTES = 64 * 1024;
/** Bytes of bodies under way that go into one write, so that a small frame never waits behind more. */
const WRITE_BYTES = 256 * 1024;
/** Share of one body in it. */
const TURN_BYTES = 64 * 1024;

/** A body that waits for its turn on the connection. */
export interface Feeder {
  /**
   * Puts DATA of at most so many bytes, and perhaps trailers, into the output; stands in line again when there is more.
   * @returns bytes of DATA
   */
  feed(bytes: number): number;
}

/** Whose last frame this was. */
export interface Written {
  /** It was handed to the operating system. */
  written(): void;
}

/**
 * Gathers the frames of one turn of the loop into one write: one system call and as few TLS records as the bytes need.
 * While a write is under way the next one gathers, so that under load writes grow and without load nothing waits.
 * Whole messages and control frames go first, bodies under way share what room is left.
 */
export class FrameOutput {
  readonly #socket: TLSSocket;
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  /** The part of the slab that is not queued yet. */
  #from = 0;
  #to = 0;
  #queue: Buffer[] = [];
  #queued = 0;
  #feeders: Feeder[] = [];
  #told: Written[] = [];
  #scheduled = false;
  #writing = false;
  #ending = false;
  #stopped = false;
  readonly #onTurn = (): void => this.flush();

  constructor(socket: TLSSocket) {
    this.#socket = socket;
  }

  /** Bytes that wait here because the connection takes no more: what a peer that does not read makes us keep. */
  get waiting(): number {
    return this.#queued + this.#to - this.#from;
  }

  head(kind: typeof KIND.head | typeof KIND.trailers, stream: number, head: EncodedHead): void {
    const at = this.#room(HEADER_BYTES + head.bytes);
    this.#to = head.write(this.#slab, writeHeader(this.#slab, at, kind, stream, head.bytes));
    this.#schedule();
  }

  data(stream: number, bytes: Buffer): void {
    const copy = bytes.length <= COPY_BYTES;
    const at = this.#room(HEADER_BYTES + (copy ? bytes.length : 0));
    this.#to = writeHeader(this.#slab, at, KIND.data, stream, bytes.length);
    if (copy) this.#to += bytes.copy(this.#slab, this.#to);
    else {
      this.#seal();
      this.#queue.push(bytes);
      this.#queued += bytes.length;
    }
    this.#schedule();
  }

  /** A frame whose payload is numbers of 32 bits. */
  control(kind: Kind, stream: number, ...numbers: readonly number[]): void {
    const at = this.#room(HEADER_BYTES + 4 * numbers.length);
    this.#to = writeHeader(this.#slab, at, kind, stream, 4 * numbers.length);
    for (const number of numbers) this.#to = this.#slab.writeUInt32BE(number, this.#to);
    this.#schedule();
  }

  /** Told when all that is in the output now was handed over; never when that failed. */
  whenWritten(who: Written): void {
    this.#told.push(who);
  }

  /** Ends the connection when all was written. */
  end(): void {
    this.#ending = true;
    this.#schedule();
  }

  /** Sends nothing more; what waits is lost. */
  stop(): void {
    this.#stopped = true;
    this.#queue = [];
    this.#feeders = [];
    this.#told = [];
  }

  /** Asks for a turn. A feeder stands in the line once. */
  line(feeder: Feeder): void {
    this.#feeders.push(feeder);
    this.#schedule();
  }

  /** @returns where `bytes` fit into the slab */
  #room(bytes: number): number {
    if (this.#to + bytes > this.#slab.length) {
      this.#seal();
      // The old one is still referred to by what was not written yet.
      this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, bytes));
      this.#from = this.#to = 0;
    }
    return this.#to;
  }

  #seal(): void {
    if (this.#to === this.#from) return;
    this.#queue.push(this.#slab.subarray(this.#from, this.#to));
    this.#queued += this.#to - this.#from;
    this.#from = this.#to;
  }

  #schedule(): void {
    if (this.#scheduled || this.#writing) return;
    this.#scheduled = true;
    setImmediate(this.#onTurn);
  }

  /** Writes what there is now, unless a write is under way. */
  flush(): void {
    this.#scheduled = false;
    if (this.#writing || this.#stopped || this.#socket.destroyed) return;
    this.#writing = true;
    this.#feedBodies();
    this.#seal();
    const queue = this.#queue;
    const last = queue.pop();
    if (last === undefined) this.#rest();
    else this.#write(queue, last);
  }

  #write(first: readonly Buffer[], last: Buffer): void {
    const socket = this.#socket;
    const told = this.#told;
    this.#queue = [];
    this.#queued = 0;
    this.#told = [];
    if (first.length > 0) {
      socket.cork();
      for (const piece of first) socket.write(piece);
    }
    socket.write(last, (failure) => {
      if (failure !== undefined && failure !== null) return; // told through the socket's `close`
      for (const who of told) who.written();
      this.#writing = false;
      if (this.waiting > 0 || this.#feeders.length > 0) this.flush();
      else this.#rest();
    });
    if (first.length > 0) socket.uncork();
  }

  /** All was written, and nobody refers to the slab any more. */
  #rest(): void {
    this.#writing = false;
    this.#from = this.#to = 0;
    if (this.#ending) this.#socket.end();
  }

  /** Round after round, each its share. Who stands in line sends at least a byte or leaves it, so this ends. */
  #feedBodies(): void {
    let room = WRITE_BYTES - this.waiting;
    while (room > 0) {
      const feeder = this.#feeders.shift();
      if (feeder === undefined) return;
      room -= feeder.feed(Math.min(room, TURN_BYTES));
    }
  }
}
