/**
 * A way in for programs that speak plain HTTP, to a listener that wants mutual TLS: the bytes as they are, and on each
 * connection's first request one field more. Cheap, so that the load it carries stays a load.
 */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';

export interface Tunnel {
  readonly url: string;
  close(): void;
}

/** @param first field, with its line end, that a connection's first request gets; may depend on the connection */
export async function openTunnel(
  to: ConnectionOptions,
  first: (connection: TLSSocket) => Promise<string>,
): Promise<Tunnel> {
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true, pauseOnConnect: true }, (near) => {
    const far = connect({ ...to, minVersion: 'TLSv1.3' });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        open.delete(socket);
        other.destroy();
      });
    }
    far.setNoDelay(true);
    far.once('secureConnect', () => {
      void first(far).then((field) => {
        near.once('data', (head: Buffer) => {
          const line = head.indexOf('\r\n') + 2; // wrk writes a whole head at once
          far.write(Buffer.concat([head.subarray(0, line), Buffer.from(field), head.subarray(line)]));
          near.pipe(far);
        });
        far.pipe(near);
        near.resume();
      }, far.destroy.bind(far));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
