import { request as httpRequest } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { parseObject } from './shape.ts';
import type { Json } from './http.ts';

/** The attestation service said no. */
export class AttestorRefused extends Error {
  override readonly name = 'AttestorRefused';
  readonly code: string;
  readonly status: number;
  constructor(status: number, code: string) {
    super(`the attestation service refused: ${code}`);
    this.status = status;
    this.code = code;
  }
}

/** A service asks nobody before it answers a device. What is silent for longer is tried again while a result lives. */
const PATIENCE_MS = 10_000;
/** More than a service waits with the answer to {@link AttestorClient.revocations}; the sandbox breaks machines for as long. */
const NEWS_MS = 40_000;
const MAX_ANSWER = 8 * 1024 * 1024;

interface Asked {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: object;
  /** How long an answer may take. Default 40 s. */
  readonly patienceMs?: number;
}

/** The attestation service as devices and gateways see it: one TLS 1.3 connection, kept open between requests. */
export class AttestorClient {
  readonly #url: URL;
  readonly #agent: Agent;

  /** @param ca PEM of the authorities that the service's certificate may come from */
  constructor(url: string, ca: string | Buffer) {
    this.#url = new URL(url);
    if (this.#url.protocol !== 'https:') throw new TypeError(`${url}: the attestation service speaks https`);
    // One socket: nonce and evidence must travel on the same connection.
    this.#agent = new Agent({
      ca,
      keepAlive: true,
      maxSockets: 1,
      minVersion: 'TLSv1.3',
      maxCachedSessions: 0,
    });
  }

  /** @throws AttestorRefused, or the error of the network */
  async post(path: string, body: object, patienceMs = PATIENCE_MS): Promise<Json> {
    return parseObject(await this.#exchange({ method: 'POST', path, body, patienceMs }), path);
  }

  /** The signed list, when there is one newer than `after`; waits for it for about half a minute. */
  async revocations(after: number | undefined): Promise<string> {
    const query = after === undefined ? '' : `?after=${after}`;
    return (await this.#exchange({ method: 'GET', path: `/v1/revocations${query}` })).toString('latin1');
  }

  close(): void {
    this.#agent.destroy();
  }

  #exchange(asked: Asked): Promise<Buffer> {
    const { hostname, port, origin } = this.#url;
    return exchange(
      origin,
      (options) => httpsRequest({ ...options, host: unbracketed(hostname), port, agent: this.#agent }),
      asked,
    );
  }
}

/** The administrator's side: requests over the service's Unix socket. */
export async function administrate(socketPath: string, asked: Asked): Promise<Json> {
  const bytes = await exchange(socketPath, (options) => httpRequest({ ...options, socketPath }), asked);
  return parseObject(bytes, asked.path);
}

const unbracketed = (host: string): string => (host.startsWith('[') ? host.slice(1, -1) : host);

type Open = (options: {
  method: string;
  path: string;
  timeout: number;
  headers: Record<string, string | number>;
}) => ReturnType<typeof httpRequest>;

/** @param where for messages */
function exchange(
  where: string,
  open: Open,
  { method, path, body, patienceMs = NEWS_MS }: Asked,
): Promise<Buffer> {
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers =
    method === 'POST'
      ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
      : {};
  return new Promise((resolve, reject) => {
    const request = open({ method, path, headers, timeout: patienceMs });
    request.on('timeout', () =>
      request.destroy(new Error(`${where}: no answer in ${patienceMs / 1000} s: is this the right program?`)),
    );
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let total = 0;
      response.on('data', (chunk: Buffer) => {
        total += chunk.length;
        if (total > MAX_ANSWER) request.destroy(new Error('the answer is too long'));
        chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const status = response.statusCode ?? 0;
        if (status === 200) resolve(bytes);
        else reject(new AttestorRefused(status, codeOf(bytes)));
      });
    });
    request.end(text);
  });
}

function codeOf(bytes: Buffer): string {
  try {
    const { code } = parseObject(bytes, 'refusal');
    return typeof code === 'string' && /^[a-z_.]{1,60}$/.test(code) ? code : 'unknown';
  } catch {
    return 'unknown'; // something in between answered
  }
}
