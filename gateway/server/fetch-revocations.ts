import { Agent, request } from 'node:https';

/** Longer than an attestation service lets a question wait for news. */
const PATIENCE_MS = 40_000;
const MAX_BYTES = 4 * 1024 * 1024;

/** Asks one attestation service for the list of what it has taken back. The URL is one of the signed registry. */
export class RevocationClient {
  readonly #url: URL;
  readonly #agent: Agent;

  /** @param ca PEM of the authorities its certificate may come from; undefined: those of the system */
  constructor(url: string, ca: Buffer | undefined) {
    this.#url = new URL(url);
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: 1,
      minVersion: 'TLSv1.3',
      maxCachedSessions: 0,
      ...(ca === undefined ? {} : { ca }),
    });
  }

  /** @param after number of the list we have. @throws Error whatever went wrong, in words */
  ask(after: number | undefined): Promise<string> {
    const url = new URL(this.#url);
    url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/revocations`;
    if (after !== undefined) url.searchParams.set('after', String(after));
    return new Promise((resolve, reject) => {
      const asked = request(url, { agent: this.#agent, timeout: PATIENCE_MS });
      asked.on('timeout', () => asked.destroy(new Error(`no answer in ${PATIENCE_MS} ms`)));
      asked.on('error', (cause) => reject(new Error(`${this.#url.host}: ${cause.message}`, { cause })));
      asked.on('response', (answer) => {
        const chunks: Buffer[] = [];
        let size = 0;
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_BYTES) asked.destroy(new Error(`longer than ${MAX_BYTES} bytes`));
          else chunks.push(chunk);
        });
        answer.on('error', reject);
        answer.on('end', () => {
          if (answer.statusCode === 200) resolve(Buffer.concat(chunks).toString('latin1'));
          else reject(new Error(`${this.#url.host} answered ${answer.statusCode ?? 0}`));
        });
      });
      asked.end();
    });
  }

  /** Ends a question that waits. */
  close(): void {
    this.#agent.destroy();
  }
}
