import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Unavailable } from '../core/errors.ts';
import { NO_FIELDS, type Fields } from '../core/fields.ts';
import type { Inflow, Loan, Outflow, OutflowEvents } from '../core/flow.ts';
import type { BodyMeter } from '../message/digest.ts';
import type { ExchangeLimits } from './gateway.ts';
import type { Permit } from './permit.ts';
import { relay, type RelayTerms } from './relay.ts';

/** Bodies up to this stay in memory. */
const MEMORY_BYTES = 1024 * 1024;
const BLOCK_BYTES = 256 * 1024;

/**
 * `delivery: verified`: takes a whole request in, completes it (digest, signature, record), and only then lets the
 * service see its first byte. For services that act on a prefix.
 * @throws what `complete` throws; Denied `message.too_large` beyond the spool's cap
 */
export async function spool(
  permit: Permit,
  from: Inflow,
  meter: BodyMeter,
  terms: RelayTerms,
  limits: Pick<ExchangeLimits, 'spoolBytes' | 'spoolDir'>,
  complete: (trailers: Fields) => Promise<Fields>,
): Promise<Spool> {
  const spooled = new Spool(limits.spoolDir);
  const maxBytes = Math.min(terms.maxBytes, limits.spoolBytes);
  try {
    await relay(permit, from, spooled, meter, { ...terms, maxBytes }, complete);
  } catch (cause) {
    await spooled.discard();
    throw cause;
  }
  return spooled;
}

/**
 * One body at rest for a moment: in memory, or in a file without a name, encrypted with a key that is never written
 * anywhere. What a thief of the disk finds is noise, and a crash leaves nothing behind.
 */
export class Spool implements Outflow {
  readonly #dir: string;
  readonly #key = randomBytes(32);
  readonly #iv = randomBytes(12);
  readonly #cipher = createCipheriv('aes-256-gcm', this.#key, this.#iv);
  #memory: { readonly bytes: Buffer; readonly loan: Loan | undefined }[] = [];
  #inMemory = 0;
  #file: FileHandle | undefined;
  #events: OutflowEvents | undefined;
  #writing: Promise<void> = Promise.resolve();
  #failed = false;

  constructor(dir: string) {
    this.#dir = dir;
  }

  attach(events: OutflowEvents): void {
    this.#events = events;
  }

  write(chunk: Buffer, loan?: Loan): boolean {
    this.#memory.push({ bytes: chunk, loan });
    this.#inMemory += chunk.length;
    if (this.#file === undefined && this.#inMemory <= MEMORY_BYTES) return true;
    if (this.#inMemory < BLOCK_BYTES) return true;
    this.#queue(() => this.#flush());
    this.#queue(() => {
      this.#events?.drain();
    });
    return false;
  }

  end(last: Buffer | undefined): void {
    if (last !== undefined) this.#memory.push({ bytes: last, loan: undefined });
    this.#queue(async () => {
      if (this.#file !== undefined) await this.#flush();
      this.#events?.finish();
    });
  }

  destroy(): void {
    this.#failed = true;
  }

  /** Hands the body to the service. The file's integrity is checked before the last block is let go. */
  async sendTo(to: Outflow): Promise<void> {
    const flow = new Turnstile(to);
    try {
      if (this.#file === undefined) {
        for (const { bytes } of this.#memory.slice(0, -1)) await flow.write(bytes);
        await flow.end(this.#memory.at(-1)?.bytes);
      } else await this.#sendFile(this.#file, flow);
    } finally {
      await this.discard();
    }
  }

  async discard(): Promise<void> {
    await this.#writing.catch(() => undefined);
    this.#memory = [];
    await this.#file?.close();
    this.#file = undefined;
  }

  async #sendFile(file: FileHandle, flow: Turnstile): Promise<void> {
    const decipher = createDecipheriv('aes-256-gcm', this.#key, this.#iv);
    decipher.setAuthTag(this.#cipher.final().length === 0 ? this.#cipher.getAuthTag() : Buffer.alloc(16));
    let position = 0;
    let held: Buffer | undefined;
    for (;;) {
      const block = Buffer.allocUnsafe(BLOCK_BYTES);
      const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, position);
      if (bytesRead === 0) break;
      position += bytesRead;
      if (held !== undefined) await flow.write(held);
      held = decipher.update(block.subarray(0, bytesRead));
    }
    decipher.final(); // throws when a byte on the disk changed
    await flow.end(held);
  }

  #queue(step: () => void | Promise<void>): void {
    this.#writing = this.#writing.then(step).catch((cause: unknown) => {
      if (this.#failed) return;
      this.#failed = true;
      this.#events?.error(new Unavailable('gateway.overloaded', 'spool file', { cause }));
    });
  }

  async #flush(): Promise<void> {
    if (this.#failed) return;
    this.#file ??= await this.#openNameless();
    const chunks = this.#memory;
    this.#memory = [];
    this.#inMemory = 0;
    for (const { bytes, loan } of chunks) {
      const encrypted = this.#cipher.update(bytes);
      loan?.done();
      await this.#file.appendFile(encrypted);
    }
  }

  async #openNameless(): Promise<FileHandle> {
    const path = join(this.#dir, `spool-${randomBytes(12).toString('hex')}`);
    const file = await open(path, 'wx+', 0o600);
    await unlink(path); // from here only this handle reaches it
    return file;
  }
}

/** An outflow written to by awaiting: one writer, one waiter. */
class Turnstile {
  readonly #to: Outflow;
  #wake: (() => void) | undefined;
  #failure: Error | undefined;
  #finished = false;

  constructor(to: Outflow) {
    this.#to = to;
    const wake = (): void => {
      this.#wake?.();
      this.#wake = undefined;
    };
    to.attach({
      drain: wake,
      error: (cause) => {
        this.#failure = cause;
        wake();
      },
      finish: () => {
        this.#finished = true;
        wake();
      },
    });
  }

  async write(chunk: Buffer): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#to.write(chunk)) await this.#turn();
  }

  async end(last: Buffer | undefined): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#to.end(last, NO_FIELDS);
    while (!this.#finished) await this.#turn();
  }

  async #turn(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    if (this.#failure !== undefined) throw this.#failure;
  }
}
