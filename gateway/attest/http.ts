// HTTP of the attestation service and of the agent's local socket: small JSON bodies, nothing else.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ConfigError, describe } from '../core/errors.ts';
import { REFUSED, Refused } from './refused.ts';
import { parseObject } from './shape.ts';

export type Json = Readonly<Record<string, unknown>>;

/** @throws Refused `request.too_large`, `request.malformed` */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Json> {
  const chunks: Buffer[] = [];
  let total = 0;
  // An http request yields Buffers as long as nobody sets an encoding.
  for await (const chunk of request as AsyncIterable<Buffer>) {
    total += chunk.length;
    if (total > maxBytes) throw new Refused('request.too_large', `more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return parseObject(Buffer.concat(chunks), 'body');
}

export function answer(response: ServerResponse, status: number, body: object | string): void {
  if (response.destroyed || response.writableEnded) return;
  const text = typeof body === 'string' ? body : `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    'content-type': typeof body === 'string' ? 'application/jwt' : 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  response.end(text);
}

/**
 * The one place where a thrown value becomes an answer. Codes of one step are alike for the other side where the
 * difference would help an attacker: why an enrolment failed is for the log.
 * @returns what to log
 */
export function answerThrown(
  response: ServerResponse,
  thrown: unknown,
): { readonly code: string; readonly detail: string; readonly alert: boolean } {
  if (thrown instanceof Refused) {
    // A body that was not read to its end cannot be followed by another request.
    if (thrown.code === 'request.too_large') response.setHeader('connection', 'close');
    answer(response, thrown.status, { code: thrown.code });
    return { code: thrown.code, detail: thrown.message, alert: thrown.isAlert };
  }
  const isTheirs =
    thrown instanceof Error && (thrown.name === 'MalformedBytes' || thrown instanceof ConfigError);
  const code = isTheirs ? 'request.malformed' : 'internal';
  answer(response, isTheirs ? REFUSED['request.malformed'].status : 500, { code });
  return { code, detail: describe(thrown), alert: !isTheirs };
}
