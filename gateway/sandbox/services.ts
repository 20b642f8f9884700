import { createCipheriv, createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { lookUp } from './records.ts';
import { answerScenario, isScenario } from './scenario-services.ts';

/** What the services saw, so that a test can prove that a refused request never got there. */
export interface Seen {
  /** Requests that began, and those that came to a tidy end. */
  count: number;
  complete: number;
  last: string | null;
}

export interface SandboxServices {
  /** Base URL; the services are `echo`, `files`, `events`, `cases`, `registry` and the scenarios' below it. */
  readonly url: string;
  readonly seen: Seen;
  close(): Promise<void>;
}

/** Agency B's information system: plain HTTP on loopback, knowing nothing of gateways. */
export async function startServices(host = '127.0.0.1'): Promise<SandboxServices> {
  const seen: Seen = { count: 0, complete: 0, last: null };
  const steps = new EventEmitter();
  const server = createServer((request, response) => {
    void answer(request, response, seen, steps).catch(() => response.destroy());
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });
  const { port } = server.address() as AddressInfo; // a TCP server's address is one
  return { url: `http://${host}:${port}`, seen, close: () => closed(server) };
}

async function closed(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
    server.closeAllConnections();
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  seen: Seen,
  steps: EventEmitter,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://service.invalid');
  const [, service = '', ...rest] = url.pathname.split('/');
  if (service === '__seen') {
    json(response, seen);
    return;
  }
  if (service === '__next') {
    json(response, { waited: steps.emit('next') });
    return;
  }
  seen.count++;
  seen.last = `${request.method ?? ''} ${request.url ?? ''}`;
  request.once('end', () => {
    seen.complete++; // Node tells the end of a request only when its framing was complete
  });
  if (isScenario(service)) return answerScenario(service, rest, request, response);
  switch (service) {
    case 'echo':
      return echo(request, response);
    case 'files':
      return request.method === 'PUT' || request.method === 'POST'
        ? swallow(request, response, rest, url.searchParams)
        : files(response, rest, url.searchParams);
    case 'events':
      return events(request, response, url.searchParams, steps);
    case 'cases':
    case 'registry': {
      const found = lookUp(service, rest);
      json(
        response,
        found ?? { error: 'no such record', path: url.pathname },
        found === undefined ? 404 : 200,
      );
      return undefined;
    }
    default:
      json(response, { error: 'no such service', path: url.pathname }, 404);
  }
}

function json(response: ServerResponse, value: unknown, status = 200): void {
  const body = JSON.stringify(value);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

const ECHO_BYTES = 1024 * 1024;

/** Says what it received: the way to see what a gateway adds, drops and passes on. `?status=` answers with that status. */
async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  let size = 0;
  const hash = createHash('sha256');
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    hash.update(chunk);
    if (size <= ECHO_BYTES) chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  const text = body.toString('utf8');
  const { searchParams } = new URL(request.url ?? '/', 'http://service.invalid');
  const status = Number(searchParams.get('status') ?? 200);
  const answered = Number.isInteger(status) && status >= 200 && status <= 599 ? status : 400;
  if (answered === 204 || answered === 304) {
    response.writeHead(answered).end();
    return;
  }
  json(
    response,
    {
      method: request.method,
      path: request.url,
      headers: request.headers,
      body: Buffer.from(text, 'utf8').equals(body) ? text : { base64: body.toString('base64') },
      size,
      sha256: hash.digest('hex'),
    },
    answered,
  );
}

/**
 * `GET /files/{n}?seed=` streams n pseudo-random bytes, the same for the same seed. Variants: `?chunked` marks the end
 * in the transfer, `?ms=` waits between blocks, `/files/broken/{n}` breaks off half-way, `/files/unbounded/{n}` ends by
 * closing the connection only, `/files/silent/{n}` stops half-way without a word.
 */
async function files(
  response: ServerResponse,
  rest: readonly string[],
  query: URLSearchParams,
): Promise<void> {
  const kind = rest.length > 1 ? rest[0] : 'plain';
  const size = Number(rest.at(-1));
  if (!Number.isSafeInteger(size) || size < 0) {
    json(response, { error: 'GET /files/{number of bytes}' }, 400);
    return;
  }
  const pauseMs = Number(query.get('ms') ?? 0);
  const headers: Record<string, string | number> = { 'content-type': 'application/octet-stream' };
  if (kind === 'unbounded') {
    response.shouldKeepAlive = false;
    response.useChunkedEncodingByDefault = false;
  } else if (!query.has('chunked')) headers['content-length'] = size;
  response.writeHead(200, headers);
  const half = kind === 'broken' || kind === 'silent' ? Math.floor(size / 2) : size;
  const source = Readable.from(pseudoRandom(half, query.get('seed') ?? '1', pauseMs), { objectMode: false });
  await pipeline(source, response, { end: kind !== 'broken' && kind !== 'silent' });
  if (kind === 'broken') setTimeout(() => response.destroy(), 20); // what was written should be on its way first
}

const BLOCK = 64 * 1024;
const ZEROS = Buffer.alloc(BLOCK);

/** AES-CTR key stream: as fast as the machine, and anyone can make the same bytes with `openssl enc`. */
export async function* pseudoRandom(size: number, seed: string, pauseMs = 0): AsyncGenerator<Buffer> {
  const key = createHash('sha256').update(seed).digest().subarray(0, 16);
  const stream = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  for (let left = size; left > 0; left -= BLOCK) {
    yield stream.update(left >= BLOCK ? ZEROS : ZEROS.subarray(0, left));
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** `PUT /files/x` takes a body and says how long it was and its SHA-256. `?ms=` reads slowly; `/files/early/x` answers at once. */
async function swallow(
  request: IncomingMessage,
  response: ServerResponse,
  rest: readonly string[],
  query: URLSearchParams,
): Promise<void> {
  if (rest[0] === 'early') {
    json(response, { error: 'not wanted' }, 409);
    return;
  }
  if (rest[0] === 'broken') {
    request.once('data', () => request.destroy());
    return;
  }
  const pauseMs = Number(query.get('ms') ?? 0);
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    hash.update(chunk);
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  json(response, { size, sha256: hash.digest('hex') });
}

/** `GET /events?count=&ms=` sends server-sent events, one at a time; with `&held`, the next one when `/__next` is asked for. */
async function events(
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
  steps: EventEmitter,
): Promise<void> {
  const count = Math.min(Number(query.get('count') ?? 5), 100_000);
  const pauseMs = Number(query.get('ms') ?? 200);
  let gone = false;
  request.on('close', () => {
    gone = true;
  });
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.flushHeaders();
  for (let n = 1; n <= count && !gone; n++) {
    response.write(`id: ${n}\nevent: tick\ndata: {"n":${n},"of":${count}}\n\n`);
    if (query.has('held')) await once(steps, 'next');
    else await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  response.end();
}
