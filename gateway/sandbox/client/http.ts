import { request as plainRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { request as tlsRequest } from 'node:https';

export interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** PEM of the authority to trust, and of a certificate and its key to show. For https. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const TIMEOUT_MS = 30_000;

/** One request, no redirects followed: as little client as an information system needs. */
export function ask(url: string, { method = 'GET', headers = {}, body, ...tls }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const take = (response: IncomingMessage): void => {
      read(response).then(resolve, reject);
    };
    const common = { method, headers, agent: false, timeout: TIMEOUT_MS } as const;
    const outgoing = url.startsWith('https:')
      ? tlsRequest(url, { ...common, ...tls }, take)
      : plainRequest(url, common, take);
    outgoing.on('error', reject);
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer from ${new URL(url).origin}`)));
    outgoing.end(body);
  });
}

async function read(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(chunks).toString('utf8'),
  };
}
