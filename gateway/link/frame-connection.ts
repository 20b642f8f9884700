import { MalformedBytes } from '../core/errors.ts';
import type { Clock } from '../core/clock.ts';
import type { Lent } from '../core/lending.ts';
import { PassingMap } from '../core/passing.ts';
import { broken } from './failures.ts';
import type { HeadLimits } from './frame-head.ts';
import { FrameOutput } from './frame-output.ts';
import type { FrameStream, StreamHost } from './frame-stream.ts';
import {
  CODE,
  FIRST_CREDIT,
  FrameReader,
  HEADER_BYTES,
  KIND,
  writeHeader,
  type Code,
  type FrameEvents,
} from './frames.ts';
import { watchLife } from './h2-session.ts';
import type { LinkLimits } from './link.ts';
import { Rate } from './rate.ts';
import type { TlsSession } from './tls.ts';

/** How long a connection that we give up may take to say so. */
const FAREWELL_MS = 1000;
/** The number of a field fits into a byte. */
const MAX_FIELDS = 255;
const MAX_HEAD = 0xffff;

/** What the asking and the accepting end do differently. */
export interface FrameRole {
  /** The other side's greeting: exchanges at once that it accepts. */
  greeted(streams: number): void;
  /** HEAD for a stream that is not there. @throws MalformedBytes */
  opened(id: number, bytes: Buffer, from: number, to: number): void;
  /** A stream is over. */
  forgotten(): void;
  /** DRAIN came. @throws MalformedBytes */
  drained(): void;
  /** The connection does not end in order. Comes at most once, before the streams hear of it. */
  broke(cause: Error): void;
  /** Comes once, last. */
  closed(): void;
}

/** One `troad/1` connection: what both ends have in common. */
export class FrameConnection implements FrameEvents, StreamHost {
  readonly facts: TlsSession;
  readonly output: FrameOutput;
  /** What we accept in a head. */
  readonly limits: HeadLimits;
  /** What the other side accepts. */
  accepted: HeadLimits;
  /** The highest stream that was opened. */
  last = 0;
  heavy = 0;
  readonly #streams = new PassingMap<number, FrameStream>();
  readonly #role: FrameRole;
  readonly #link: LinkLimits;
  readonly #reader: FrameReader;
  readonly #pings: Rate;
  readonly #stopWatching: () => void;
  #greeted = false;
  #cause: Error | undefined;
  /** The stream whose DATA is coming. */
  #current: FrameStream | undefined;
  /** What the bytes that are being read lie in. */
  #lent: Lent | undefined;
  /** What is left to lend to streams above their first credit. */
  #window: number;
  #pong: (() => void) | undefined;
  #pingNumber = 0;
  #pongNumber = 0;

  constructor(facts: TlsSession, limits: LinkLimits, clock: Clock, role: FrameRole) {
    const { socket } = facts;
    this.facts = facts;
    this.#link = limits;
    this.#role = role;
    this.#window = limits.sessionWindow;
    this.limits = {
      headBytes: Math.min(limits.headBytes, MAX_HEAD),
      fields: Math.min(limits.fields, MAX_FIELDS),
    };
    this.accepted = this.limits;
    this.output = new FrameOutput(socket);
    this.#reader = new FrameReader(this, this.limits.headBytes);
    this.#pings = new Rate(clock, limits.resetsPerSecond, limits.resetsPerSecond);
    facts.read((bytes, lent) => this.#received(bytes, lent));
    socket.on('end', () => this.#ended());
    socket.on('error', (cause) => this.#fail(broken('connection', cause)));
    socket.on('close', () => this.#closed());
    this.#stopWatching = watchLife(this, socket, limits, (cause) => this.destroy(cause, CODE.gone));
    this.output.control(KIND.hello, 0, limits.streamsPerSession, this.limits.headBytes, this.limits.fields);
    this.output.flush();
  }

  /** Streams that are not over. */
  get active(): number {
    return this.#streams.size;
  }

  get destroyed(): boolean {
    return this.#cause !== undefined || this.facts.socket.destroyed;
  }

  add(stream: FrameStream): void {
    this.last = stream.id;
    this.#streams.set(stream.id, stream);
  }

  forget(stream: FrameStream): void {
    if (!this.#streams.delete(stream.id)) return;
    if (stream.heavy) this.heavy--;
    this.#role.forgotten();
  }

  /** Widens the window of one stream, as far as the connection's own bound of memory goes. @returns by how much */
  borrow(): number {
    const bytes = Math.max(0, Math.min(this.#link.streamWindow - FIRST_CREDIT, this.#window));
    this.#window -= bytes;
    return bytes;
  }

  giveBack(bytes: number): void {
    this.#window += bytes;
  }

  /** Calls back when the other side has answered, this ping or a later one. */
  ping(answered: () => void): void {
    this.#pong = answered;
    this.output.control(KIND.ping, 0, 0, ++this.#pingNumber);
  }

  /** In order: what was said is sent first. */
  end(): void {
    this.output.end();
    this.#destroyLater(this.#link.pingTimeoutMs);
  }

  /** Breaks off everything that runs. */
  destroy(cause: Error, code: Code): void {
    if (this.#cause !== undefined) return;
    this.#fail(cause);
    const { socket } = this.facts;
    if (socket.writable) {
      const bye = Buffer.alloc(HEADER_BYTES + 4);
      bye.writeUInt32BE(code, writeHeader(bye, 0, KIND.bye, 0, 4));
      socket.end(bye); // what waited in the output is lost: nothing of it may be taken for complete now
    }
    this.#destroyLater(FAREWELL_MS);
  }

  #destroyLater(afterMs: number): void {
    const { socket } = this.facts;
    const timer = setTimeout(() => socket.destroy(), afterMs);
    timer.unref();
    socket.once('close', () => clearTimeout(timer));
  }

  #fail(cause: Error): void {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    this.#reader.stop();
    this.output.stop();
    this.#role.broke(cause);
    this.#loseStreams(cause);
  }

  #loseStreams(cause: Error): void {
    const streams = this.#streams.values();
    for (const { id } of streams) this.#streams.delete(id);
    for (const stream of streams) stream.lost(cause);
  }

  #ended(): void {
    if (this.active > 0) this.#fail(broken('the other side closed the connection'));
  }

  #closed(): void {
    this.#stopWatching();
    if (this.active > 0) this.#fail(broken('the connection was closed'));
    this.#reader.stop();
    this.#role.closed();
  }

  #received(bytes: Buffer, lent: Lent): void {
    this.#lent = lent;
    try {
      this.#reader.push(bytes);
    } catch (cause) {
      // Anything else is a fault of ours; this connection is in an unknown state then, the others are not.
      const code = cause instanceof MalformedBytes ? CODE.protocol : CODE.gone;
      this.destroy(broken('frames', cause), code);
      return;
    }
    // Who does not read what it asked for makes us keep it.
    const most = this.#link.streamsPerSession * (FIRST_CREDIT + this.accepted.headBytes);
    if (this.output.waiting > most) this.destroy(broken('the other side does not read'), CODE.flood);
  }

  data(id: number, length: number): void {
    this.#requireGreeting();
    const stream = this.#streams.get(id);
    if (stream === undefined) throw new MalformedBytes('data of no stream');
    stream.data(length);
    this.#current = stream;
  }

  part(bytes: Buffer): void {
    if (this.#lent !== undefined) this.#current?.part(bytes, this.#lent);
  }

  frame(
    kind: Parameters<FrameEvents['frame']>[0],
    id: number,
    bytes: Buffer,
    from: number,
    to: number,
  ): void {
    if (kind === KIND.hello) return this.#hello(bytes, from);
    this.#requireGreeting();
    switch (kind) {
      case KIND.head: {
        const stream = this.#streams.get(id);
        if (stream === undefined) this.#role.opened(id, bytes, from, to);
        else stream.head(bytes, from, to);
        return undefined;
      }
      case KIND.trailers: {
        const stream = this.#streams.get(id);
        if (stream === undefined) throw new MalformedBytes('trailers of no stream');
        return stream.trailers(bytes, from, to);
      }
      case KIND.reset:
        return this.#ofStream(id)?.wasReset(bytes.readUInt32BE(from));
      case KIND.credit:
        return this.#ofStream(id)?.credited(bytes.readUInt32BE(from));
      case KIND.ping:
        if (!this.#pings.take()) return this.destroy(broken('too many pings'), CODE.flood);
        return this.output.control(KIND.pong, 0, bytes.readUInt32BE(from), bytes.readUInt32BE(from + 4));
      case KIND.pong:
        return this.#ponged(bytes, from);
      case KIND.drain:
        return this.#role.drained();
      case KIND.bye:
        this.#fail(broken(`the other side ended the session (code ${bytes.readUInt32BE(from)})`));
        this.#destroyLater(FAREWELL_MS);
        return undefined;
    }
  }

  /** A stream for frames that may come after its end. */
  #ofStream(id: number): FrameStream | undefined {
    if (id > this.last) throw new MalformedBytes('a frame of a stream to come');
    return this.#streams.get(id);
  }

  #hello(bytes: Buffer, from: number): void {
    if (this.#greeted) throw new MalformedBytes('greeted twice');
    const streams = bytes.readUInt32BE(from);
    const headBytes = bytes.readUInt32BE(from + 4);
    const fields = bytes.readUInt32BE(from + 8);
    if (streams === 0 || headBytes > MAX_HEAD || fields > MAX_FIELDS) throw new MalformedBytes('greeting');
    this.#greeted = true;
    this.accepted = { headBytes, fields };
    this.#role.greeted(streams);
  }

  #requireGreeting(): void {
    if (!this.#greeted) throw new MalformedBytes('no greeting');
  }

  #ponged(bytes: Buffer, from: number): void {
    const number = bytes.readUInt32BE(from + 4);
    if (bytes.readUInt32BE(from) !== 0 || number <= this.#pongNumber || number > this.#pingNumber) {
      throw new MalformedBytes('an answer to no ping');
    }
    this.#pongNumber = number;
    this.#pong?.();
  }
}
