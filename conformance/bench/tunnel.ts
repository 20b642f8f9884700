/**
 * A way in for programs that speak plain HTTP, to a listener that wants mutual TLS: the bytes as they are, and on each
 * connection's first request one field more. Cheap, so that the load it carries stays a load. Connections to the listener
 * outlive those that they serve: what their first request costs (a TPM signs) is paid once, and not in each measurement.
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
  const all = new Set<Socket>();
  const idle: TLSSocket[] = [];

  const open = async (): Promise<{ readonly far: TLSSocket; readonly field: string }> => {
    const far = connect({ ...to, minVersion: 'TLSv1.3' });
    all.add(far);
    far.setNoDelay(true).on('error', () => undefined);
    await new Promise((resolve, reject) => far.once('secureConnect', resolve).once('close', reject));
    return { far, field: await first(far) };
  };
  const join = async (near: Socket): Promise<void> => {
    const waiting = idle.pop();
    const { far, field } = waiting === undefined ? await open() : { far: waiting, field: '' };
    far.removeAllListeners('data');
    far.on('data', (bytes: Buffer) => near.write(bytes));
    near.once('data', (head: Buffer) => {
      const line = head.indexOf('\r\n') + 2; // wrk writes a whole head at once
      far.write(Buffer.concat([head.subarray(0, line), Buffer.from(field), head.subarray(line)]));
      near.on('data', (bytes: Buffer) => far.write(bytes));
    });
    const closed = (): void => void near.destroy();
    far.once('close', closed);
    near.once('close', () => {
      far.off('close', closed).removeAllListeners('data');
      far.on('data', () => undefined); // the answer that nobody waits for any more
      idle.unshift(far);
    });
    near.resume();
  };

  const server = createServer({ noDelay: true, pauseOnConnect: true }, (near) => {
    all.add(near);
    near.on('error', () => undefined).once('close', () => all.delete(near));
    join(near).catch(() => near.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => {
      server.close();
      for (const socket of all) socket.destroy();
    },
  };
}
