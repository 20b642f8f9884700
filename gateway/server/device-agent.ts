import { request } from 'node:http';
import { base64url } from '../core/bytes.ts';
import { type OwnResult, renewalOf } from '../exchange/greeting.ts';
import type { Clock } from '../core/clock.ts';

/** A TPM signs in a tenth of a second; an agent that takes longer than this is stuck. */
const PATIENCE_MS = 3_000;
const MAX_BYTES = 16 * 1024;

/** Asks the device agent of this host (`troad device run`) over its Unix socket: the result, and the TPM's signature over a connection. */
export async function askAgent(socketPath: string, exporter: Uint8Array, clock: Clock): Promise<OwnResult> {
  const text = await say(socketPath, '/present', JSON.stringify({ exporter: base64url(exporter) }));
  const { result, binding } = Object(JSON.parse(text)) as Partial<Record<'result' | 'binding', unknown>>; // any object may be asked
  if (typeof result !== 'string' || typeof binding !== 'string')
    throw new Error(`${socketPath}: no result and binding`);
  return { token: result, binding, renewAtMs: renewalOf(result, clock.now()) };
}

/** The same agent, for whoever examines this host. @returns its answer, JSON */
export const asksAgent = (socketPath: string, path: '/status' | '/result'): Promise<string> =>
  say(socketPath, path);

function say(socketPath: string, path: string, body?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({
      socketPath,
      path,
      method: body === undefined ? 'GET' : 'POST',
      timeout: PATIENCE_MS,
      agent: false,
      headers:
        body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    });
    asked.on('timeout', () => asked.destroy(new Error(`${socketPath}: no answer in ${PATIENCE_MS} ms`)));
    asked.on('error', reject);
    asked.on('response', (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece: string) => {
        text += piece;
        if (text.length > MAX_BYTES)
          asked.destroy(new Error(`${socketPath}: longer than ${MAX_BYTES} characters`));
      });
      answer.on('error', reject);
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve(text);
        else reject(new Error(`${socketPath} answered ${answer.statusCode ?? 0}: ${text.slice(0, 200)}`));
      });
    });
    asked.end(body);
  });
}
