import { X509Certificate } from 'node:crypto';
import type { Clock } from '../../gateway/core/clock.ts';
import { NO_FIELDS, type Fields } from '../../gateway/core/fields.ts';
import type { Inflow, Outflow } from '../../gateway/core/flow.ts';
import type { RequestHead } from '../../gateway/core/head.ts';
import { createLinkClient } from '../../gateway/link/client.ts';
import type {
  LinkArrival,
  LinkClient,
  LinkClientOptions,
  LinkCredentials,
  LinkEvent,
  LinkServer,
  LinkServerOptions,
  LinkTarget,
} from '../../gateway/link/link.ts';
import { createLinkServer } from '../../gateway/link/server.ts';
import { spkiOf } from '../../gateway/link/tls.ts';
import { Authority, type Identity } from '../../pki/authority.ts';

/** Two gateways with real certificates, for tests of what happens between them. */

export const CONSUMER = 'gw.a11.tw.troad.example';
export const PROVIDER = 'gw.b07.tw.troad.example';

export const systemClock: Clock = { now: () => Date.now(), monotonic: () => performance.now() };

export interface Gateways {
  readonly authority: Authority;
  readonly consumer: Identity;
  readonly provider: Identity;
}

export async function makeGateways(): Promise<Gateways> {
  const authority = await Authority.create('TW test', () => Date.now());
  const consumer = await authority.issueLink(CONSUMER);
  const provider = await authority.issueLink(PROVIDER);
  return { authority, consumer, provider };
}

export const credentialsOf = (authority: Authority, identity: Identity): LinkCredentials => ({
  key: identity.keyPem,
  cert: identity.chainPem,
  ca: authority.rootPem,
});

export const spkiOfIdentity = (identity: Identity): string => spkiOf(new X509Certificate(identity.der));

export interface LinkPair {
  readonly gateways: Gateways;
  readonly client: LinkClient;
  readonly server: LinkServer;
  readonly target: LinkTarget;
  readonly events: LinkEvent[];
  /** Drains both, client first. */
  close(): Promise<void>;
}

export interface PairOptions {
  readonly gateways: Gateways;
  readonly onArrival: (arrival: LinkArrival) => void;
  readonly client?: Partial<LinkClientOptions>;
  readonly server?: Partial<LinkServerOptions>;
  /** Where the client believes the server to be, for a proxy in between. */
  readonly via?: (port: number) => Promise<number>;
}

/** A server on a free port of 127.0.0.1 and a client that knows it. */
export async function makePair(options: PairOptions): Promise<LinkPair> {
  const { gateways } = options;
  const events: LinkEvent[] = [];
  const server = createLinkServer({
    credentials: credentialsOf(gateways.authority, gateways.provider),
    clock: systemClock,
    verifyPeer: () => undefined,
    onArrival: options.onArrival,
    onEvent: (event) => events.push(event),
    ...options.server,
  });
  const client = createLinkClient({
    credentials: credentialsOf(gateways.authority, gateways.consumer),
    clock: systemClock,
    random: () => 0.5,
    verifyPeer: () => undefined,
    onEvent: (event) => events.push(event),
    ...options.client,
  });
  const listening = await server.listen({ host: '127.0.0.1', port: 0 });
  const port = options.via === undefined ? listening : await options.via(listening);
  return {
    gateways,
    client,
    server,
    events,
    target: { name: PROVIDER, host: '127.0.0.1', port, spki: [spkiOfIdentity(gateways.provider)] },
    close: async () => {
      await client.drain();
      await server.drain();
    },
  };
}

export function requestHead(path: string, more: Partial<RequestHead> = {}): RequestHead {
  return { method: 'POST', authority: PROVIDER, path, query: '', fields: NO_FIELDS, ...more };
}

export interface Received {
  readonly bytes: Buffer;
  readonly trailers: Fields;
}

/** Reads a body to its end; rejects with the cause when it breaks off. */
export function receive(inflow: Inflow, onData?: (chunk: Buffer) => void): Promise<Received> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    inflow.start({
      data(chunk) {
        chunks.push(chunk);
        onData?.(chunk);
      },
      end(trailers) {
        resolve({ bytes: Buffer.concat(chunks), trailers });
      },
      error: reject,
    });
  });
}

/** Sends chunks, waiting where the receiver is slower, and ends with trailers. Resolves when all is handed over. */
export function send(outflow: Outflow, chunks: Iterable<Buffer>, trailers: Fields): Promise<void> {
  return new Promise((resolve, reject) => {
    const rest = chunks[Symbol.iterator]();
    const push = (): void => {
      for (let next = rest.next(); next.done !== true; next = rest.next()) {
        if (!outflow.write(next.value)) return;
      }
      outflow.end(undefined, trailers);
    };
    outflow.attach({ drain: push, error: reject, finish: resolve });
    push();
  });
}
