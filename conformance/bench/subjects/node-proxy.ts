/**
 * A reverse proxy as a Node programmer writes it in an afternoon: node:http, node:https, pipes. No duty of a gateway.
 * A program of its own: `node node-proxy.ts '{"side":"near", …}'`.
 */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, createServer, request, type RequestListener, type Server } from 'node:http';
import { Agent as HttpsAgent, createServer as createTlsServer, request as tlsRequest } from 'node:https';

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

const kept = { keepAlive: true, maxSockets: 512 };
const toFar = new HttpsAgent({ ...kept, ...tls, servername: order.farName });
const toService = new HttpAgent(kept);

const forward: RequestListener = (incoming, answer) => {
  const { method = 'GET', url = '/', headers } = incoming;
  const outgoing = ((): ReturnType<typeof request> => {
    if (order.side === 'near') {
      const { farPort: port, farName: servername } = order;
      return tlsRequest({ host: '127.0.0.1', port, servername, method, path: url, headers, agent: toFar });
    }
    const [, door = '', ...rest] = url.split('/');
    return request(`${order.services[door]}/${rest.join('/')}`, { method, headers, agent: toService });
  })();
  outgoing.on('response', (response) => {
    answer.writeHead(response.statusCode ?? 502, response.headers);
    response.pipe(answer);
  });
  outgoing.on('error', () => answer.destroy());
  incoming.pipe(outgoing);
};

const mutual = { ...tls, requestCert: true, rejectUnauthorized: true };

function listen(server: Server, port: number): void {
  server.requestTimeout = 0;
  server.keepAliveTimeout = 3_600_000;
  server.listen(port, '127.0.0.1');
}

if (order.side === 'near') {
  listen(createTlsServer(mutual, forward), order.userPort);
  listen(createServer(forward), order.port);
} else listen(createTlsServer(mutual, forward), order.farPort);
