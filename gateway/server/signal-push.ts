import {
  createServer as createPlain,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createTls } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe } from '../core/errors.ts';
import { SecurityEventRefused } from '../identity/security-event.ts';

export interface SignalPushOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** PEM. Without them plain HTTP: on loopback, behind the agency's own TLS. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer };
  /** Resolves when the event has had its effect and is kept. */
  readonly take: (set: string) => Promise<void>;
  readonly onProblem: (detail: string) => void;
}

const MAX_BYTES = 16 * 1024;
const PATH = '/signals';

/**
 * Where identity providers push security events (RFC 8935). The event's own signature says who speaks; what does not
 * verify has cost a few kilobytes and one signature check.
 */
export class SignalPush {
  readonly port: number;
  readonly #server: Server;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /** @throws the system's error when the address cannot be used */
  static async listen(options: SignalPushOptions): Promise<SignalPush> {
    const limits = {
      maxHeaderSize: 8192,
      headersTimeout: 5000,
      requestTimeout: 10_000,
      keepAliveTimeout: 60_000,
    };
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      void receive(request, response, options);
    };
    const server =
      options.tls === undefined
        ? createPlain(limits, answer)
        : createTls({ ...limits, ...options.tls, minVersion: 'TLSv1.2' }, answer);
    server.maxConnections = 64;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.port, options.host, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', () => undefined); // accept() failed once; the listener goes on
    return new SignalPush(server, (server.address() as AddressInfo).port); // not a pipe: it listens on a port
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}

async function receive(
  request: IncomingMessage,
  response: ServerResponse,
  { take, onProblem }: SignalPushOptions,
): Promise<void> {
  const send = (status: number, body?: object): void => {
    const bytes = Buffer.from(body === undefined ? '' : JSON.stringify(body), 'utf8');
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    response.writeHead(status, { 'content-length': bytes.length, 'cache-control': 'no-store', ...type });
    response.end(bytes);
  };
  if (request.url !== PATH) return send(404);
  if (request.method !== 'POST') return send(405);
  if (request.headers['content-type'] !== 'application/secevent+jwt') return send(415);
  try {
    const set = await readBody(request);
    if (set === undefined) return send(413);
    await take(set);
    send(202); // RFC 8935 §2.2
  } catch (thrown) {
    onProblem(describe(thrown));
    // §2.3: the code and nothing more; anything else is ours, and the transmitter tries again.
    if (thrown instanceof SecurityEventRefused) send(400, { err: thrown.code, description: 'not taken' });
    else send(503);
  }
}

async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('latin1').trim();
}
