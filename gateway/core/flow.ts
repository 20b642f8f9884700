import type { Fields } from './fields.ts';

/**
 * One message body on its way in. Push with back-pressure, no stream objects: the same Buffer that came from the
 * socket goes to the hash and to the next socket.
 */
export interface Inflow {
  /** Starts delivery. Called once; bytes that came before wait in the transport. */
  start(sink: Sink): void;
  /** Asks the transport to stop delivering; a few chunks that are under way may still come. */
  pause(): void;
  resume(): void;
  /** Ends the transport of this message at once. The other side sees an error, never a tidy end. */
  destroy(cause: Error): void;
}

/**
 * A chunk in memory that its owner would like to use again. Who gets a chunk with a loan may pass both on together, or
 * call `done` once when nobody reads the bytes any more (a write of them was handed to the operating system). Not
 * calling it is no mistake: the memory is collected then, so whoever keeps a chunk or cuts it just drops the loan.
 * Calling it too early is one: the bytes change under their reader.
 */
export interface Loan {
  done(): void;
}

/** Where an {@link Inflow} delivers. Exactly one of `end` and `error` comes, last, and only once. */
export interface Sink {
  data(chunk: Buffer, loan?: Loan): void;
  /** The transport says the message is complete. Never called for a truncated one. */
  end(trailers: Fields): void;
  error(cause: Error): void;
}

/** One message body on its way out. */
export interface Outflow {
  /** Called once, before the first write. */
  attach(source: OutflowEvents): void;
  /** @returns false when the receiver is slower than we are: write no more until `drain`. */
  write(chunk: Buffer, loan?: Loan): boolean;
  /** Last bytes (if any) and the tidy end. Trailers are dropped by transports that have none. */
  end(last: Buffer | undefined, trailers: Fields): void;
  /** Breaks the message off so that the receiver sees an error. Harmless after `end` was flushed. */
  destroy(cause: Error): void;
}

export interface OutflowEvents {
  drain(): void;
  /** The receiver is gone. Comes at most once, and not after `finish`. */
  error(cause: Error): void;
  /** Everything, the end included, was handed to the operating system. */
  finish(): void;
}
