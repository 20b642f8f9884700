import type { LineOutlet } from './line-writer.ts';

const BATCH_CHARACTERS = 64 * 1024;
const WAIT_MS = 200;

/**
 * Lines of a worker on their way to the thread that writes them. There is one writer to a descriptor: a pipe takes only
 * 4 KiB in one piece, so two writers would cut each other's lines. A batch costs one message, some hundred times less
 * than it holds lines under load.
 */
export class LineRelay implements LineOutlet {
  readonly #send: (lines: string) => void;
  #lines = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (lines: string) => void) {
    this.#send = send;
  }

  write(line: string): void {
    this.#lines += line;
    if (this.#lines.length >= BATCH_CHARACTERS) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), WAIT_MS).unref();
  }

  hurry(): void {
    this.flush();
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#lines === '') return;
    this.#send(this.#lines);
    this.#lines = '';
  }

  close(): Promise<void> {
    this.flush();
    return Promise.resolve();
  }

  /** The writer counts. */
  takeDropped(): number {
    return 0;
  }
}
