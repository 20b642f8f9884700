import { write, writeSync } from 'node:fs';
import { setTimeout as setTimeoutPromise } from 'node:timers/promises';

const BATCH_BYTES = 16 * 1024;
const WAIT_MS = 200;
const RETRY_MS = 100;
const CLOSE_MS = 1000;
const CLOSE_STEP_MS = 5;

/** Where lines of the operator's log go. */
export interface LineOutlet {
  /** @param lines one or more, each with its line feed */
  write(lines: string): void;
  /** Begins to write what waits, unless that is under way. */
  hurry(): void;
  /** Writes what waits before returning, as far as that is possible without waiting. */
  flush(): void;
  /** Writes what waits and what is under way, for at most a second: the reader may have stopped. */
  close(): Promise<void>;
  /** Lines lost since the last call. */
  takeDropped(): number;
}

/**
 * Writes lines to a descriptor without ever holding up the event loop: a reader that stalls or goes away costs lines,
 * which are counted, and never an exchange. (SonicBoom, pino's own writer, retries for ever inside `flushSync` when its
 * reader is gone, and stops the whole process with it.)
 */
export class LineWriter implements LineOutlet {
  readonly #fd: number;
  readonly #maxBytes: number;
  #lines: string[] = [];
  #bytes = 0;
  #writing = false;
  #timer: NodeJS.Timeout | undefined;
  #dropped = 0;

  /** @param maxBytes what may wait in memory; lines beyond are dropped */
  constructor(fd: number, maxBytes = 4 * 1024 * 1024) {
    this.#fd = fd;
    this.#maxBytes = maxBytes;
  }

  write(lines: string): void {
    const bytes = Buffer.byteLength(lines);
    if (this.#bytes + bytes > this.#maxBytes) {
      this.#drop(Buffer.from(lines));
      return;
    }
    this.#lines.push(lines);
    this.#bytes += bytes;
    if (this.#bytes >= BATCH_BYTES) this.hurry();
    else this.#later(WAIT_MS);
  }

  hurry(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing || this.#lines.length === 0) return;
    this.#writing = true;
    this.#writeAll(Buffer.from(this.#take()), 0);
  }

  /** For a process that cannot wait; lines under way may come after these. */
  flush(): void {
    let rest = Buffer.from(this.#take());
    try {
      while (rest.length > 0) rest = rest.subarray(writeSync(this.#fd, rest));
    } catch {
      this.#drop(rest);
    }
  }

  async close(): Promise<void> {
    for (
      let waited = 0;
      waited < CLOSE_MS && (this.#writing || this.#lines.length > 0);
      waited += CLOSE_STEP_MS
    ) {
      this.hurry();
      await setTimeoutPromise(CLOSE_STEP_MS);
    }
  }

  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  #take(): string {
    const text = this.#lines.join('');
    this.#lines = [];
    this.#bytes = 0;
    return text;
  }

  #writeAll(bytes: Buffer, from: number): void {
    write(this.#fd, bytes, from, bytes.length - from, null, (error, written) => {
      const next = from + (error === null ? written : 0);
      if (error?.code === 'EAGAIN') {
        setTimeout(() => this.#writeAll(bytes, next), RETRY_MS).unref();
        return;
      }
      if (error === null && next < bytes.length) {
        this.#writeAll(bytes, next);
        return;
      }
      if (error !== null) this.#drop(bytes.subarray(next));
      this.#writing = false;
      if (this.#bytes >= BATCH_BYTES) this.hurry();
      else if (this.#lines.length > 0) this.#later(WAIT_MS);
    });
  }

  #later(ms: number): void {
    this.#timer ??= setTimeout(() => this.hurry(), ms).unref();
  }

  #drop(bytes: Buffer): void {
    for (const byte of bytes) if (byte === 0x0a) this.#dropped += 1;
  }
}
