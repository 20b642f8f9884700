import type { SendItem } from './cases.ts';
import type { Outcome } from './expectations.ts';
import type { Patience } from './link-client.ts';
import { converse, type Step, type Target } from './raw-socket.ts';
import { answersIn, readResponses } from './responses.ts';

/** Names that `{{…}}` stands for in what is sent. Another gateway under test brings its own. */
export type Variables = Readonly<Record<string, string>>;

/** Variables for a gateway that offers `service` to `client`: ready-made beginnings of requests, without the last line end. */
export function variablesFor(host: string, client: string, service: string): Variables {
  const path = `/r1/${service}`;
  const verified = path.replace(/[^/]+$/, 'verified');
  const head = (method: string): string =>
    `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nX-Road-Client: ${client}\r\nAccept: application/problem+json\r\n`;
  const fields = head('').slice(head('').indexOf('\r\n') + 2);
  return { host, client, path, verified, fields, get: head('GET'), post: head('POST') };
}

/**
 * Sends one variant's bytes and says what came back.
 * @param closes true when the gateway is expected to end the connection: only then it is waited for
 */
export async function play(
  target: Target,
  items: readonly SendItem[],
  variables: Variables,
  { waitMs, seen }: Patience,
  closes: boolean,
): Promise<Outcome> {
  const transcript = await converse(
    target,
    items.map((item) => stepOf(item, variables, seen)),
    waitMs,
    closes ? undefined : hasAnswer,
  );
  const responses = readResponses(transcript.received, []);
  return { answers: responses.filter(({ status }) => status >= 200), closed: transcript.ending !== 'open' };
}

function stepOf(item: SendItem, variables: Variables, seen: Patience['seen']): Step {
  if (typeof item === 'string') return { send: bytesOf(item, variables) };
  if ('hex' in item) return { send: Buffer.from(item.hex, 'hex') };
  if ('repeat' in item) return { send: bytesOf(item.repeat.repeat(item.times), variables) };
  if ('drip' in item) return { drip: bytesOf(item.drip, variables), everyMs: item.everyMs };
  if ('await' in item) return { wait: seen };
  return item;
}

function bytesOf(text: string, variables: Variables): Buffer {
  const filled = text.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = variables[name];
    if (value === undefined) throw new Error(`no variable ${name}`);
    return value;
  });
  return Buffer.from(filled, 'latin1');
}

function hasAnswer(received: Buffer): boolean {
  if (answersIn(received) === 0) return false;
  const last = readResponses(received, []).at(-1);
  return last !== undefined && last.complete && last.status >= 200;
}
