import { describe, Fatal } from '../core/errors.ts';
import type { Clock } from '../core/clock.ts';
import { signCheckpoint } from '../tlog/checkpoint.ts';
import type { Frontier } from '../tlog/frontier.ts';
import type { NoteSigner } from '../tlog/note.ts';
import type { HeadFile } from './head-file.ts';
import { appendFile, replaceFile, type Storage } from './storage.ts';

export const CHECKPOINT_FILE = 'checkpoint';
export const HISTORY_FILE = 'checkpoints';

/** Every signed head would be 200 MB a day; an auditor needs one now and then. */
const HISTORY_EVERY_MS = 60_000;
/** The head guards against rollback and follows at once; its copy for auditors doubles the price and may be a little older. */
const COPY_EVERY_MS = 1000;

type Tree = Pick<Frontier, 'size' | 'root'>;

export interface CheckpointerOptions {
  readonly dir: string;
  readonly head: HeadFile;
  readonly storage: Storage;
  readonly signer: NoteSigner;
  readonly clock: Clock;
  readonly everyMs: number;
  /** The tree as far as it is on disk. */
  readonly durable: () => Tree;
  readonly signed: (size: bigint) => void;
  /** Told once: another writer has the log. */
  readonly fenced: (cause: unknown) => void;
  /** Told when {@link Checkpointer.trouble} may have changed. */
  readonly changed: () => void;
}

/**
 * Signs tree heads beside the commit path: at most one per interval, always of what is on disk, and keeps the last one
 * in two places. What is signed once binds us: a restart that finds less than the head says refuses to go on.
 */
export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #latest: string;
  #signedSize: bigint;
  #timer: NodeJS.Timeout | undefined;
  #saving: Promise<void> | undefined;
  #savedNote: string | undefined;
  #copyAt = -Infinity;
  #copiedNote: string | undefined;
  #copyTimer: NodeJS.Timeout | undefined;
  #historyAt = -Infinity;
  #historyNote: string | undefined;
  #trouble: string | undefined;
  #stopped = false;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    const state = options.durable();
    this.#signedSize = state.size;
    this.#latest = this.#sign(state);
  }

  get latest(): string {
    return this.#latest;
  }

  /** Why the last head could not be stored, if it could not. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** The tree has grown. */
  grew(): void {
    if (this.#timer !== undefined || this.#stopped) return;
    this.#renew();
    // A log at rest signs at once; one under load every interval.
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#options.durable().size > this.#signedSize) this.grew();
    }, this.#options.everyMs).unref();
  }

  /** Signs what is on disk now and stores it in every place. @throws what the storage throws */
  async save(): Promise<void> {
    clearTimeout(this.#copyTimer);
    this.#copyTimer = undefined;
    if (this.#options.durable().size > this.#signedSize) this.#renew();
    await this.#saving;
    await this.#store(true);
  }

  async close(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#copyTimer);
    this.#timer = undefined;
    this.#copyTimer = undefined;
    await this.#saving;
    await this.#options.head.close();
  }

  #renew(): void {
    const state = this.#options.durable();
    this.#latest = this.#sign(state);
    this.#signedSize = state.size;
    this.#options.signed(state.size);
    this.#keepSaving();
  }

  #sign(tree: Tree): string {
    const { signer } = this.#options;
    return signCheckpoint({ origin: signer.name, size: tree.size, root: tree.root() }, signer);
  }

  /** One writer at a time; heads that were overtaken while it wrote are not written. */
  #keepSaving(): void {
    // Only with something to write: a writer that ends before it is kept in the field would stay there for ever.
    if (this.#due) this.#saving ??= this.#saveAll();
    else this.#copyLater();
  }

  get #due(): boolean {
    return !this.#stopped && (this.#savedNote !== this.#latest || this.#copyDue);
  }

  async #saveAll(): Promise<void> {
    try {
      while (this.#due) await this.#store(false);
      this.#trouble = undefined;
    } catch (cause) {
      this.#trouble = `the tree head cannot be stored: ${describe(cause)}`;
      if (cause instanceof Fatal) this.#options.fenced(cause);
    }
    this.#saving = undefined;
    this.#options.changed();
    this.#copyLater();
  }

  get #copyDue(): boolean {
    const { clock } = this.#options;
    return this.#copiedNote !== this.#latest && clock.monotonic() - this.#copyAt >= COPY_EVERY_MS;
  }

  /** Also of a log that comes to rest the copy catches up. */
  #copyLater(): void {
    if (this.#copiedNote === this.#latest || this.#copyTimer !== undefined || this.#stopped) return;
    const age = this.#options.clock.monotonic() - this.#copyAt;
    this.#copyTimer = setTimeout(
      () => {
        this.#copyTimer = undefined;
        this.#copyAt = -Infinity; // due, even where the timer is a moment ahead of the clock
        this.#keepSaving();
      },
      Math.max(0, COPY_EVERY_MS - age),
    ).unref();
  }

  async #store(always: boolean): Promise<void> {
    const { dir, head, storage, clock } = this.#options;
    const note = this.#latest;
    await head.store(note);
    this.#savedNote = note;
    if (always || this.#copyDue) {
      await replaceFile(storage, `${dir}/${CHECKPOINT_FILE}`, note); // the copy for auditors was behind: still true
      this.#copyAt = clock.monotonic();
      this.#copiedNote = note;
    }
    const due = always || clock.monotonic() - this.#historyAt >= HISTORY_EVERY_MS;
    if (due && this.#historyNote !== note) {
      await appendFile(storage, `${dir}/${HISTORY_FILE}`, `${JSON.stringify(note)}\n`); // torn: cut at the next start
      this.#historyAt = clock.monotonic();
      this.#historyNote = note;
    }
  }
}
