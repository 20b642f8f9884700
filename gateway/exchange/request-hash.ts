import { createHash, hash, type Hash } from 'node:crypto';

/** Fields that X-Road leaves out of a message, both ways (REST protocol 4.3). */
const SKIPPED = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'user-agent',
  'host',
  'server',
  'expect',
  'content-length',
  'x-road-request-id',
  'x-road-request-hash',
]);

const SHA512_BYTES = 64;
const both = Buffer.alloc(2 * SHA512_BYTES);

/**
 * `x-road-request-hash`: base64 of SHA-512 over the request as X-Road serialises it (head; with a body, the hash of
 * both hashes). Lets an X-Road client check afterwards which request was answered. Our own evidence is SHA-256.
 */
export class RequestHash {
  readonly #head: string;
  #body: Hash | undefined;
  /** The body, when it is one piece so far. */
  #only: Uint8Array | undefined;

  /** @param made the id fields this gateway added, in order, the request id last */
  constructor(
    method: string,
    target: string,
    rawHeaders: readonly string[],
    made: readonly (readonly [string, string])[],
  ) {
    let head = `${method}\r\n${target}\r\n`;
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] ?? '';
      if (!SKIPPED.has(name.toLowerCase())) head += `${name}:${rawHeaders[i + 1] ?? ''}\r\n`;
    }
    for (const [name, value] of made) head += `${name}:${value}\r\n`;
    this.#head = head;
  }

  update(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    if (this.#body === undefined && this.#only === undefined) {
      this.#only = chunk;
      return;
    }
    this.#body ??= createHash('sha512');
    if (this.#only !== undefined) this.#body.update(this.#only);
    this.#only = undefined;
    this.#body.update(chunk);
  }

  /** Called once, after the last byte. */
  value(): string {
    const body = this.#body?.digest('binary') ?? (this.#only && hash('sha512', this.#only, 'binary'));
    if (body === undefined) return hash('sha512', this.#head, 'base64');
    // A string is what the one-shot call makes soonest.
    both.write(hash('sha512', this.#head, 'binary'), 0, 'latin1');
    both.write(body, SHA512_BYTES, 'latin1');
    return hash('sha512', both, 'base64');
  }
}
