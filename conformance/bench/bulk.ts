/** One big body through a subject, every byte compared on the way. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import type { Payload } from './lab.ts';
import { paced, SLOW_BYTES_PER_SECOND } from './pace.ts';
import type { Swallowed } from './sink.ts';
import type { Target } from './subjects/subject.ts';

export interface Transfer {
  readonly status: number;
  readonly bytes: number;
  readonly elapsedMs: number;
  /** From the request's first byte until the first byte of the answer's body. */
  readonly firstByteMs: number;
  /** Every byte was the expected one and none was missing. */
  readonly same: boolean;
  /** Lower-case hex, when it was asked for. */
  readonly sha256: string | null;
}

export interface DownloadOptions {
  readonly agent?: Agent;
  /** Hash as well: slower than comparing, so only where speed is not measured. */
  readonly digest?: boolean;
  /** Read no faster than the slow rate. */
  readonly slow?: boolean;
}

/** Fetches a file that should hold exactly `expected`. @throws Error when the answer breaks off */
export async function download(
  target: Target,
  expected: Buffer,
  options: DownloadOptions = {},
): Promise<Transfer> {
  const start = performance.now();
  const sent = request(target.url, { agent: options.agent ?? false, headers: target.headers });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage]; // as node:http documents
  sent.on('error', () => undefined); // what breaks from here on breaks the answer, which rejects below
  const hash = options.digest === true ? createHash('sha256') : undefined;
  const slowDown = options.slow === true ? paced(response, SLOW_BYTES_PER_SECOND) : undefined;
  let bytes = 0;
  let same = true;
  let firstByteMs = Number.NaN;
  response.on('data', (chunk: Buffer) => {
    if (bytes === 0) firstByteMs = performance.now() - start;
    const end = bytes + chunk.length;
    same &&= end <= expected.length && expected.compare(chunk, 0, chunk.length, bytes, end) === 0;
    bytes = end;
    hash?.update(chunk);
    slowDown?.(chunk.length);
  });
  await once(response, 'end'); // an answer that breaks off emits `error`, which rejects
  return {
    status: response.statusCode ?? 0,
    bytes,
    elapsedMs: performance.now() - start,
    firstByteMs,
    same: same && bytes === expected.length,
    sha256: hash?.digest('hex') ?? null,
  };
}

/** Large enough that the load generator's own system calls do not dominate. */
const WRITE_BYTES = 256 << 10;

/** Sends the payload to the sink, which compares or hashes it. @throws Error when the connection breaks */
export async function upload(target: Target, payload: Payload): Promise<Transfer> {
  const start = performance.now();
  const headers = {
    ...target.headers,
    'content-type': 'application/octet-stream',
    'content-length': payload.bytes.length,
  };
  const sent = request(target.url, { method: 'PUT', agent: false, headers });
  const answered = once(sent, 'response') as Promise<[IncomingMessage]>; // as node:http documents
  const wrote = (async () => {
    for (let at = 0; at < payload.bytes.length; at += WRITE_BYTES) {
      if (!sent.write(payload.bytes.subarray(at, at + WRITE_BYTES))) await once(sent, 'drain');
    }
    sent.end();
  })();
  // Whichever fails first is the cause; an early answer (a refusal) leaves the rest unwritten.
  const [response] = await Promise.race([answered, wrote.then(() => answered)]);
  wrote.catch(() => undefined);
  sent.on('error', () => undefined); // as above; behind an early answer it may be nothing but what was not read
  const firstByteMs = performance.now() - start;
  let text = '';
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(response, 'end');
  const elapsedMs = performance.now() - start;
  sent.destroy();
  const swallowed = parseSwallowed(text);
  return {
    status: response.statusCode ?? 0,
    bytes: swallowed?.size ?? 0,
    elapsedMs,
    firstByteMs,
    same: swallowed?.same === true,
    sha256: swallowed?.sha256 ?? null,
  };
}

/** The sink's answer, or undefined for an error page of whoever stands in between. */
function parseSwallowed(text: string): Swallowed | undefined {
  try {
    return JSON.parse(text) as Swallowed; // our own sink wrote it; a foreign page fails to parse or to compare
  } catch {
    return undefined;
  }
}
