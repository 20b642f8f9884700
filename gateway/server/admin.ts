import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sha256, equalBytes } from '../core/bytes.ts';
import { ConfigError } from '../core/errors.ts';

export interface AdminOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Bearer token for everything but the two probes. */
  readonly token?: string;
  /** Why nothing is admitted now; empty when ready. */
  readonly notReady: () => Promise<readonly string[]>;
  readonly metrics: () => Promise<string>;
  /** How many evidence logs there are. One is at `/log/checkpoint`, several at `/log/w1/checkpoint` and so on. */
  readonly logs: number;
  /** Latest signed checkpoint of one of them, from 1; undefined when it cannot be had now. */
  readonly checkpoint: (log: number) => Promise<string | undefined>;
}

interface Page {
  readonly type: string;
  readonly status?: number;
  readonly body: string;
}

interface Route {
  /** Needs no token. */
  readonly open?: true;
  readonly page: () => Promise<Page>;
}

/** Long enough not to be guessed, for a listener that may stand on a management network. */
const TOKEN_CHARACTERS = 32;

/**
 * Checks the text of a token file: one line, printable, long enough.
 * @throws ConfigError
 */
export function parseToken(text: string): string {
  const token = text.trim();
  if (!/^[\x21-\x7e]+$/.test(token) || token.length < TOKEN_CHARACTERS) {
    throw new ConfigError([
      `/admin/tokenFile: expected one line of at least ${TOKEN_CHARACTERS} printable characters`,
    ]);
  }
  return token;
}

/**
 * The operator's listener: probes, metrics, the log's checkpoint. Reads only; no exchange passes here, and nothing that
 * stands here is needed by one.
 */
export class AdminListener {
  readonly port: number;
  readonly #server: Server;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /** @throws the system's error when the address cannot be used */
  static async listen(options: AdminOptions): Promise<AdminListener> {
    const { host, port } = options;
    const server = createServer(
      // Nobody here sends a body or needs long; 64 connections and a few seconds are plenty.
      {
        maxHeaderSize: 8192,
        headersTimeout: 5000,
        requestTimeout: 5000,
        keepAliveTimeout: 30_000,
        connectionsCheckingInterval: 2000,
      },
      answerer(options),
    );
    server.maxConnections = 64;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', () => undefined); // accept() failed once; the listener goes on
    return new AdminListener(server, (server.address() as AddressInfo).port); // not a pipe: it listens on a port
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}

function answerer(options: AdminOptions): (request: IncomingMessage, response: ServerResponse) => void {
  const tokenHash = options.token === undefined ? undefined : sha256(options.token);
  const text = (type: string, body: string): Page => ({ type: `text/plain; ${type}charset=utf-8`, body });
  const checkpoint = async (log: number): Promise<Page> => {
    const note = await options.checkpoint(log);
    if (note === undefined) throw new Error('no checkpoint now');
    return text('', note);
  };
  const routes = new Map<string, Route>([
    // The process runs and its main event loop turns: nothing else, or an outage elsewhere would restart gateways.
    ['/healthz', { open: true, page: async () => json(200, { status: 'ok' }) }],
    ['/readyz', { open: true, page: async () => readiness(await options.notReady()) }],
    ['/metrics', { page: async () => text('version=0.0.4; ', await options.metrics()) }],
  ]);
  for (let log = 1; log <= options.logs; log += 1)
    routes.set(options.logs === 1 ? '/log/checkpoint' : `/log/w${log}/checkpoint`, {
      page: () => checkpoint(log),
    });
  return (request, response) => {
    request.resume(); // a body nobody asked for
    const send = ({ type, status = 200, body }: Page, extra: Readonly<Record<string, string>> = {}): void => {
      const bytes = Buffer.from(body, 'utf8');
      response.writeHead(status, {
        'content-type': type,
        'content-length': bytes.length,
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        ...extra,
      });
      response.end(request.method === 'HEAD' ? undefined : bytes);
    };
    const route = routes.get(request.url ?? '');
    if (tokenHash !== undefined && route?.open !== true && !bears(request.headers.authorization, tokenHash)) {
      // Before 404, so that the answer does not tell which pages there are.
      send(json(401, { error: 'bearer token required' }), { 'www-authenticate': 'Bearer' });
    } else if (route === undefined) {
      send(json(404, { error: 'no such page' }));
    } else if (request.method !== 'GET' && request.method !== 'HEAD') {
      send(json(405, { error: 'read only' }), { allow: 'GET, HEAD' });
    } else {
      // The log may be closing, or its worker be replaced.
      route.page().then(send, () => send(json(503, { error: 'not available now' })));
    }
  };
}

/** Compares hashes, so that neither length nor content of the token shows in the time it takes. */
function bears(authorization: string | undefined, tokenHash: Uint8Array): boolean {
  const token = /^Bearer ([\x21-\x7e]+)$/i.exec(authorization ?? '')?.[1];
  return token !== undefined && equalBytes(sha256(token), tokenHash);
}

const readiness = (reasons: readonly string[]): Page =>
  reasons.length === 0 ? json(200, { ready: true }) : json(503, { ready: false, reasons });

const json = (status: number, body: object): Page => ({
  type: 'application/json',
  status,
  body: `${JSON.stringify(body)}\n`,
});
