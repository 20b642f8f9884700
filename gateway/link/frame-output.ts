import type { TLSSocket } from 'node:tls';
import { Lending, type Lent } from '../core/lending.ts';
import type { EncodedHead } from './frame-head.ts';
import { DATA_BYTES, HEADER_BYTES, KIND, writeHeader, type Kind } from './frames.ts';

/** Bytes of bodies under way that go into one write, so that a small frame never waits behind more. */
const WRITE_BYTES = 256 * 1024;
/** Share of one body in it. */
const TURN_BYTES = 64 * 1024;

// Frames are written side by side into memory that all connections of a worker share in turns. TLS would copy pieces
// together anyway, and it does not have to where there is one piece; and what the bytes came in is free at once.
const SLAB_BYTES = DATA_BYTES + 4 * 1024;
const SLABS = new Lending(SLAB_BYTES, 16);
const LARGE_SLABS = new Lending(WRITE_BYTES + 4 * 1024, 4);

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
  /** What frames are being written into, as far as `#to`. */
  #slab: Lent | undefined;
  #to = 0;
  /** Pieces that are complete. */
  #queue: Buffer[] = [];
  #queued = 0;
  /** The slabs they lie in. */
  #full: Lent[] = [];
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
    return this.#queued + this.#to;
  }

  head(kind: typeof KIND.head | typeof KIND.trailers, stream: number, head: EncodedHead): void {
    const into = this.#room(HEADER_BYTES + head.bytes);
    this.#to = head.write(into, writeHeader(into, this.#to, kind, stream, head.bytes));
    this.#schedule();
  }

  /** The bytes are copied: they may change when this returns. */
  data(stream: number, bytes: Buffer): void {
    const into = this.#room(HEADER_BYTES + bytes.length);
    const at = writeHeader(into, this.#to, KIND.data, stream, bytes.length);
    this.#to = at + bytes.copy(into, at);
    this.#schedule();
  }

  /** A frame whose payload is numbers of 32 bits. */
  control(kind: Kind, stream: number, ...numbers: readonly number[]): void {
    const into = this.#room(HEADER_BYTES + 4 * numbers.length);
    this.#to = writeHeader(into, this.#to, kind, stream, 4 * numbers.length);
    for (const number of numbers) this.#to = into.writeUInt32BE(number, this.#to);
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
    this.#slab = undefined;
    this.#to = 0;
    this.#full = [];
    this.#queue = [];
    this.#feeders = [];
    this.#told = [];
  }

  /** Asks for a turn. A feeder stands in the line once. */
  line(feeder: Feeder): void {
    this.#feeders.push(feeder);
    this.#schedule();
  }

  /** @returns memory in which `bytes` more fit at `#to` */
  #room(bytes: number): Buffer {
    const slab = this.#slab;
    if (slab !== undefined && this.#to + bytes <= slab.bytes.length) return slab.bytes;
    this.#seal();
    const next = bytes <= SLAB_BYTES ? SLABS.take() : new Lending(bytes, 0).take();
    this.#slab = next;
    return next.bytes;
  }

  /** What was written into the slab goes as it is; the next frame gets another. */
  #seal(): void {
    const slab = this.#slab;
    if (slab === undefined) return;
    this.#slab = undefined;
    if (this.#to === 0) return slab.done();
    this.#queue.push(slab.bytes.subarray(0, this.#to));
    this.#queued += this.#to;
    this.#full.push(slab);
    this.#to = 0;
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
    if (this.#feeders.length > 0) this.#feedBodies();
    this.#seal();
    const queue = this.#queue;
    const last = queue.pop();
    if (last === undefined) this.#rest();
    else this.#write(queue, last);
  }

  #write(first: readonly Buffer[], last: Buffer): void {
    const socket = this.#socket;
    const told = this.#told;
    const slabs = this.#full;
    this.#queue = [];
    this.#queued = 0;
    this.#full = [];
    this.#told = [];
    if (first.length > 0) {
      socket.cork();
      for (const piece of first) socket.write(piece);
    }
    socket.write(last, (failure) => {
      if (failure !== undefined && failure !== null) return; // told through the socket's `close`
      for (const slab of slabs) slab.done();
      for (const who of told) who.written();
      this.#writing = false;
      // Bodies go behind everything else of this turn: what that brings goes along, in place of waiting for another write.
      if (this.#feeders.length > 0) this.#schedule();
      else if (this.waiting > 0) this.flush();
      else this.#rest();
    });
    if (first.length > 0) socket.uncork();
  }

  /** All was written. */
  #rest(): void {
    this.#writing = false;
    if (this.#ending) this.#socket.end();
  }

  /** Round after round, each its share. Who stands in line sends at least a byte or leaves it, so this ends. */
  #feedBodies(): void {
    this.#widen();
    let room = WRITE_BYTES - this.waiting;
    while (room > 0) {
      const feeder = this.#feeders.shift();
      if (feeder === undefined) return;
      room -= feeder.feed(Math.min(room, TURN_BYTES));
    }
  }

  /** Bodies get room to lie side by side, behind what small frames there are. */
  #widen(): void {
    const large = LARGE_SLABS.take();
    const slab = this.#slab;
    if (slab === undefined || this.#queue.length > 0) this.#seal();
    else {
      slab.bytes.copy(large.bytes, 0, 0, this.#to);
      slab.done();
    }
    this.#slab = large;
  }
}
