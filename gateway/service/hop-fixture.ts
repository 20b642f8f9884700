import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Test } from 'tap';
import type { Sink } from '../core/flow.ts';
import { ServiceHop } from './hop.ts';
import type { ServiceAnswer, ServiceRequest, ServiceTarget } from './service.ts';

export const TARGET = { basePath: '/base', timeoutMs: 20_000, connectMs: 20_000, maxConcurrent: 4 };
export const GET: ServiceRequest = {
  method: 'GET',
  pathAndQuery: '/x?y',
  fields: [],
  body: { kind: 'whole', bytes: Buffer.alloc(0) },
};

/** A listener of raw bytes, closed with all its connections when the test ends, and a hop to it. */
export async function hopTo(
  t: Pick<Test, 'teardown'>,
  server: Server,
  target: Partial<ServiceTarget> = {},
  where = 'http://127.0.0.1',
): Promise<{ hop: ServiceHop; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const count = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  };
  server.on('connection', count);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // listens on a port
  const hop = new ServiceHop({ ...TARGET, origin: `${where}:${port}`, ...target });
  t.teardown(() => {
    hop.destroy();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { hop, sockets };
}

/** A service that answers each piece of bytes as told. */
export async function service(
  t: Pick<Test, 'teardown'>,
  answer: (socket: Socket, bytes: string) => void,
  target: Partial<ServiceTarget> = {},
): Promise<{ hop: ServiceHop; heads: string[]; sockets: Set<Socket>; connections: () => number }> {
  const heads: string[] = [];
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on('data', (bytes: Buffer) => {
      heads.push(bytes.toString('latin1'));
      answer(socket, bytes.toString('latin1'));
    });
  });
  return { ...(await hopTo(t, server, target)), heads, connections: () => connections };
}

/** Waits for what happens elsewhere. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Everything of one answer's body, or the error that broke it. */
export function bodyOf({ inflow }: ServiceAnswer): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const sink: Sink = {
      data: (chunk) => (text += chunk.toString('latin1')),
      end: () => resolve(text),
      error: reject,
    };
    inflow.start(sink);
  });
}
