/**
 * Swallows uploads. A program of its own, so that its work is not the load generator's.
 *
 * `PUT /swallow` compares every byte with the payload file as it comes, which costs far less than a digest.
 * `PUT /digest` hashes. `PUT /slow` hashes and reads no faster than 120 MB/s, so that whoever sends must wait.
 * Each answers `{size, same, sha256}`.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { paced, SLOW_BYTES_PER_SECOND } from './pace.ts';

/** What the sink says about an upload. */
export interface Swallowed {
  readonly size: number;
  /** Every byte was the payload's. */
  readonly same: boolean;
  readonly sha256: string | null;
}

function swallow(request: IncomingMessage, response: ServerResponse, payload: Buffer): void {
  const hash = request.url === '/swallow' ? undefined : createHash('sha256');
  const slowDown = request.url === '/slow' ? paced(request, SLOW_BYTES_PER_SECOND) : undefined;
  let size = 0;
  let same = true;
  request.on('data', (chunk: Buffer) => {
    // The range ends inside the payload or it throws: one byte too many is a difference too.
    const end = size + chunk.length;
    same &&= end <= payload.length && payload.compare(chunk, 0, chunk.length, size, end) === 0;
    size = end;
    hash?.update(chunk);
    slowDown?.(chunk.length);
  });
  request.on('end', () => {
    const answer: Swallowed = {
      size,
      same: same && size === payload.length,
      sha256: hash?.digest('hex') ?? null,
    };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
  });
}

function main(file: string): void {
  const payload = readFileSync(file);
  const server = createServer((request, response) => {
    swallow(request, response, payload);
  });
  server.keepAliveTimeout = 3_600_000;
  server.requestTimeout = 0;
  server.listen(0, '127.0.0.1', () => {
    process.stdout.write(`${(server.address() as AddressInfo).port}\n`); // a TCP server that listens has an address
  });
  process.stdin.resume().on('close', () => process.exit(0));
}

if (import.meta.main) main(process.argv[2] ?? '');
