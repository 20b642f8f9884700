import { createHash } from 'node:crypto';

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

/**
 * `x-road-request-hash`: base64 of SHA-512 over the request as X-Road serialises it (head; with a body, the hash of
 * both hashes). Lets an X-Road client check afterwards which request was answered. Our own evidence is SHA-256.
 */
export class RequestHash {
  readonly #head: Buffer;
  readonly #body = createHash('sha512');
  #hasBody = false;

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
    this.#head = createHash('sha512').update(head, 'utf8').digest();
  }

  update(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#hasBody = true;
    this.#body.update(chunk);
  }

  /** Called once, after the last byte. */
  value(): string {
    if (!this.#hasBody) return this.#head.toString('base64');
    return createHash('sha512').update(this.#head).update(this.#body.digest()).digest('base64');
  }
}
