import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { lookUp } from './records.ts';

// The services behind the scenario policies (policies/examples). They believe what reaches them: what may is the policy's.

export const SCENARIOS = ['corpus', 'household', 'messages', 'tokens', 'weather'] as const;
type Scenario = (typeof SCENARIOS)[number];

export const isScenario = (service: string): service is Scenario =>
  SCENARIOS.some((scenario) => scenario === service);

/** @param rest segments of the path below the service */
export async function answerScenario(
  scenario: Scenario,
  rest: readonly string[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  switch (scenario) {
    case 'weather':
      return json(response, 200, observation(rest));
    case 'corpus':
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      return pipeline(Readable.from(corpusPart(rest.at(-1) ?? '')), response);
    case 'tokens':
      return tokens(await bodyOf(request), response);
    case 'messages':
      return json(response, 202, { recipient: rest[1], accepted: (await bodyOf(request)).length });
    case 'household':
      return household(rest, response);
  }
}

function household(rest: readonly string[], response: ServerResponse): void {
  const found = lookUp('registry', rest);
  json(response, found === undefined ? 404 : 200, found ?? { error: 'no such household' });
}

/** One small piece, the same for the same station. */
const observation = ([product, station = '']: readonly string[]): object => ({
  product,
  station,
  celsius: createHash('sha256').update(station).digest().readUInt8() / 8,
});

const LINES = 4000;

/** About half a megabyte of JSON lines, the same for the same part. */
function* corpusPart(part: string): Generator<string> {
  for (let line = 1; line <= LINES; line++) {
    const text = createHash('sha256').update(`${part} ${line}`).digest('base64');
    yield `${JSON.stringify({ part, line, text })}\n`;
  }
}

const TOKEN_MS = 5;

/** A model of one trick: says the words of the prompt again, one event each. */
async function tokens(prompt: Buffer, response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  for (const token of prompt.toString('utf8').split(/\s+/)) {
    if (response.destroyed) return;
    response.write(`event: token\ndata: ${JSON.stringify({ token })}\n\n`);
    await delay(TOKEN_MS);
  }
  response.end('event: done\ndata: {}\n\n');
}

/** The gateway has bounded it: that is a duty of both policies. */
async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function json(response: ServerResponse, status: number, value: object): void {
  const body = JSON.stringify(value);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}
