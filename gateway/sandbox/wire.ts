import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** The network between the two agencies, as a TCP relay in our hands: it can do what a hostile router can do. */
export interface Wire {
  readonly port: number;
  /** Changes one bit of the next large segment that goes from A to B. @returns when it was done */
  flipOneBit(): Promise<void>;
  close(): void;
}

/** Smaller segments are handshakes and control frames; we want the middle of a message. */
const LARGE = 4096;

/** @param to link port of agency B on loopback */
export async function startWire(to: number): Promise<Wire> {
  const sockets = new Set<Socket>();
  let flip: (() => void) | undefined;
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.setNoDelay(true);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    far.pipe(near);
    near.on('data', (segment: Buffer) => {
      if (flip !== undefined && segment.length >= LARGE) {
        const middle = segment.length >> 1;
        segment[middle] = (segment[middle] ?? 0) ^ 0x01;
        flip();
        flip = undefined;
      }
      if (!far.write(segment)) near.pause();
    });
    far.on('drain', () => near.resume());
    near.on('end', () => far.end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port, // a TCP server's address is one
    flipOneBit: () =>
      new Promise((resolve) => {
        flip = resolve;
      }),
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
