import { performance } from 'node:perf_hooks';
import type { Test } from 'tap';
import { REFUSALS, type RefusalCode } from '../../gateway/core/refusals.ts';
import type { Consume } from '../../gateway/exchange/arrival.ts';
import { Front, type FrontLimits, type FrontOptions, type FrontTls } from '../../gateway/server/front.ts';
import { converse, PATIENCE_MS, type Step, type Target, type Transcript } from '../harness/raw-socket.ts';
import { answersIn, readResponses, type RawResponse } from '../harness/responses.ts';

const clock = { now: () => 0, monotonic: () => performance.now() };
export const attached = { drain: () => {}, error: () => {}, finish: () => {} };

export interface Lab {
  readonly front: Front;
  readonly target: Target;
  readonly refusals: RefusalCode[];
  /**
   * Plays a script and reads the answers.
   * @param answers so many are waited for, 1xx included; without it for the end of the connection
   */
  play(script: string | readonly Step[], answers?: number, methods?: readonly string[]): Promise<Played>;
}
export interface Played extends Transcript {
  readonly responses: readonly RawResponse[];
}

/** A listener on a free port with what it is to do with requests, and a raw client for it. */
export async function lab(
  t: Test,
  consume: Consume,
  limits: Partial<FrontLimits> = {},
  tls?: FrontTls,
): Promise<Lab> {
  const refusals: RefusalCode[] = [];
  const options: FrontOptions = {
    host: '127.0.0.1',
    port: 0,
    clock,
    consume,
    limits: { lingerMs: 200, ...limits },
    onFramingRefusal: (code) => void refusals.push(code),
    refusalAnswer: (code, { accept }) => ({
      head: { status: REFUSALS[code].status, fields: [['content-type', accept ?? 'application/json']] },
      bytes: Buffer.from(code),
    }),
  };
  const front = await (tls === undefined ? Front.http(options) : Front.https({ ...options, ...tls }));
  t.teardown(() => {
    front.destroy(new Error('test is over'));
    return front.close();
  });
  const target: Target = {
    host: '127.0.0.1',
    port: front.address.port,
    ...(tls === undefined ? {} : { tls: { rejectUnauthorized: false } }),
  };
  return {
    front,
    target,
    refusals,
    async play(script, answers = Infinity, methods = []) {
      const steps = typeof script === 'string' ? [{ send: Buffer.from(script, 'latin1') }] : script;
      const transcript = await converse(
        target,
        steps,
        PATIENCE_MS,
        (received) => answersIn(received, methods) >= answers,
      );
      return { ...transcript, responses: readResponses(transcript.received, methods) };
    },
  };
}

/** Takes the whole request, then answers with what it was. */
export const echo: Consume = (arrival) => {
  const body: Buffer[] = [];
  arrival.inflow.start({
    data: (chunk) => void body.push(chunk),
    end: () => {
      const { method, target, rawHeaders, length } = arrival;
      const text = JSON.stringify({
        method,
        target,
        rawHeaders,
        length,
        body: Buffer.concat(body).toString('latin1'),
      });
      const bytes = Buffer.from(text);
      arrival.answer({ status: 200, fields: [['x-a', '1']] }, { kind: 'whole', bytes }).attach(attached);
    },
    error: (cause) =>
      arrival.answer({ status: 400, fields: [] }, { kind: 'whole', bytes: Buffer.from(cause.message) }),
  });
};

export const refuse: Consume = (arrival) => {
  setTimeout(
    () =>
      arrival
        .answer({ status: 403, fields: [] }, { kind: 'whole', bytes: Buffer.from('no') })
        .attach(attached),
    5,
  );
};

export const send = (text: string): Step => ({ send: Buffer.from(text, 'latin1') });
export const bodyOf = (response: RawResponse | undefined): string => response?.body.toString('latin1') ?? '';

export const GET = 'GET /r1?q HTTP/1.1\r\nHost: gw\r\n\r\n';
export const post = (fields: string): string => `POST /r1 HTTP/1.1\r\nHost: gw\r\n${fields}\r\n\r\n`;
