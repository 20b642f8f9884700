import { connect, constants, type ClientHttp2Session } from 'node:http2';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Outcome } from './expectations.ts';
import type { LinkRequest, StolenKeys } from './link-request.ts';
import type { RawResponse } from './responses.ts';

/** What an attacker waits for. */
export interface Patience {
  /** How long for an answer, or the end of the connection. */
  readonly waitMs: number;
  /** Until the gateway has read what was sent so far. */
  readonly seen: () => Promise<void>;
}

/** Of one whose requests are answered. */
export const PATIENT: Patience = { waitMs: 20_000, seen: () => delay(100) };

export type Ending = 'tidy' | 'reset' | 'cancel' | 'disconnect';

/** A session with the provider's gateway, as an attacker with a stolen link certificate has it. */
export interface LinkSession {
  /**
   * Sends one request and says what came back.
   * @param ending how the request ends: properly, with a reset of one sort or another, or with the connection
   */
  send(request: LinkRequest, ending: Ending, patience?: Patience): Promise<Outcome>;
  destroy(): void;
}

/** Over HTTP/2. */
export async function openSession(link: string, keys: StolenKeys): Promise<LinkSession> {
  const session = connect(`https://${link}`, {
    ...keys.tls,
    servername: keys.provider,
    minVersion: 'TLSv1.3',
  });
  session.on('error', () => undefined); // a broken session shows in its streams
  await once(session, 'connect');
  return {
    send: (request, ending, patience = PATIENT) => sendOver(session, request, ending, patience),
    destroy: () => {
      session.destroy();
    },
  };
}

/** `reset` and `cancel` are RST_STREAM with NO_ERROR and with CANCEL. */
async function sendOver(
  session: ClientHttp2Session,
  request: LinkRequest,
  ending: Ending,
  { waitMs, seen }: Patience,
): Promise<Outcome> {
  const headers = [
    [':method', request.method],
    [':scheme', 'https'],
    [':authority', request.authority],
    [':path', request.path],
    ...request.fields,
  ].flat();
  const { trailers, length } = request;
  if (length !== undefined && request.body.length > 0) {
    // A tidy sender announces what it sends, tampered with or not: only then it is for the signature to tell.
    headers.push('content-length', String(ending === 'tidy' ? request.body.length : length));
  }
  const stream = session.request(headers, { endStream: false, waitForTrailers: trailers !== undefined });
  const body: Buffer[] = [];
  let status: number | undefined;
  let complete = false;
  let fields: RawResponse['fields'] = [];
  stream.on('response', (answer) => {
    status = answer[':status'];
    fields = Object.entries(answer)
      .filter(([name]) => !name.startsWith(':'))
      .map(([name, value]) => [name, String(value)]);
  });
  stream.on('data', (chunk: Buffer) => void body.push(chunk));
  stream.on('end', () => (complete = stream.rstCode === constants.NGHTTP2_NO_ERROR && !stream.aborted));
  stream.on('error', () => undefined); // shows as an incomplete answer
  stream.on('wantTrailers', () => stream.sendTrailers(asHeaders(trailers ?? [])));
  const closed = once(stream, 'close').catch(() => undefined);
  if (ending === 'tidy') stream.end(request.body);
  else {
    stream.write(request.body);
    await seen();
    if (ending === 'disconnect') session.destroy();
    else stream.close(ending === 'reset' ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL);
  }
  const inTime = await Promise.race([closed.then(() => true), delay(waitMs, false, { ref: false })]);
  const answers = status === undefined ? [] : [{ status, fields, body: Buffer.concat(body), complete }];
  stream.destroy();
  return { answers, closed: inTime && !complete };
}

/** An array value is sent as several lines of one name. */
function asHeaders(fields: LinkRequest['fields']): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of fields) {
    const before = headers[name];
    headers[name] = before === undefined ? value : [before, value].flat();
  }
  return headers;
}
