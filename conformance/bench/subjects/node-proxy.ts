/**
 * A reverse proxy as a Node programmer sets it up in an afternoon: Fastify and `@fastify/http-proxy`, whose client is undici.
 * No duty of a gateway. A program of its own: `node node-proxy.ts '{"side":"near", …}'`.
 */
import { readFileSync } from 'node:fs';
import httpProxy from '@fastify/http-proxy';
import fastify from 'fastify';

/** What the program is told. Paths are of PEM files. */
export interface ProxyOrder {
  readonly side: 'near' | 'far';
  /** near: in plain HTTP. */
  readonly port: number;
  /** near: with mutual TLS towards machines of users. */
  readonly userPort: number;
  readonly key: string;
  readonly certificate: string;
  readonly authority: string;
  /** Port and name of the far side. */
  readonly farPort: number;
  readonly farName: string;
  /** far: the services behind the first path segment. */
  readonly services: Readonly<Record<string, string>>;
}

const order = JSON.parse(process.argv[2] ?? '') as ProxyOrder; // node-pair.ts wrote it
const tls = {
  key: readFileSync(order.key),
  cert: readFileSync(order.certificate),
  ca: readFileSync(order.authority),
  minVersion: 'TLSv1.3',
} as const;

/** As the others have it: connections are kept, and wait for as long as a run takes. */
const IDLE_MS = 3_600_000;
const kept = { keepAliveTimeout: IDLE_MS, requestTimeout: 0, bodyLimit: Number.MAX_SAFE_INTEGER };
const pool = { connections: 512, keepAliveTimeout: IDLE_MS, headersTimeout: 0, bodyTimeout: 0 };

/**
 * @param https null: plain HTTP
 * @param upstreams where what stands behind a first part of a path goes to
 * @param connect options of TLS to there
 */
async function listen(
  port: number,
  https: object | null,
  upstreams: Readonly<Record<string, string>>,
  connect: object,
): Promise<void> {
  const server = fastify({ ...kept, https });
  const undici = { ...pool, connect };
  for (const [prefix, upstream] of Object.entries(upstreams))
    await server.register(httpProxy, { upstream, prefix, rewritePrefix: '', undici });
  await server.listen({ port, host: '127.0.0.1' });
}

const mutual = { ...tls, requestCert: true, rejectUnauthorized: true };
const { side, port, userPort, farPort, farName } = order;
if (side === 'near') {
  const far = { '/': `https://127.0.0.1:${farPort}` };
  const connect = { ...tls, servername: farName };
  await listen(userPort, mutual, far, connect);
  await listen(port, null, far, connect);
} else {
  const services = Object.entries(order.services).map(([name, url]) => [`/${name}`, url]);
  await listen(farPort, mutual, Object.fromEntries(services), {});
}
