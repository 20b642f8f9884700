import net, { type AddressInfo, type Socket } from 'node:net';

/** `up`: towards the server. */
export type Direction = 'up' | 'down';

export interface Break {
  readonly direction: Direction;
  /** Bytes that still pass in this direction, counted over all connections from the call of `plan` on. */
  readonly after: number;
  /**
   * `fin`, `rst`: both sides see the connection end so. `stall`: nothing passes any more in either direction, and nobody
   * is told. `flip`: one bit of the next byte is changed, once.
   */
  readonly how: 'fin' | 'rst' | 'stall' | 'flip';
}

/** A wire between two TCP endpoints of 127.0.0.1 that can fail at a chosen byte. It does not open TLS. */
export interface CutProxy {
  readonly port: number;
  /** Bytes that passed so far. */
  readonly passed: Readonly<Record<Direction, number>>;
  readonly connections: number;
  plan(failure: Break): void;
  /** Breaks all connections now; new ones work. */
  cut(how: 'fin' | 'rst'): void;
  close(): Promise<void>;
}

export async function makeCutProxy(to: number): Promise<CutProxy> {
  const passed = { up: 0, down: 0 };
  const pairs = new Set<readonly [Socket, Socket]>();
  const sockets = new Set<Socket>();
  let plan: (Break & { left: number }) | undefined;
  let stalled = false;

  const end = (socket: Socket, how: 'fin' | 'rst'): void => {
    if (how === 'fin') socket.end();
    else if (socket.writableEnded)
      socket.destroy(); // libuv leaks a handle that is reset while it shuts down
    else socket.resetAndDestroy();
  };
  const cut = (how: 'fin' | 'rst'): void => {
    for (const [a, b] of pairs) {
      end(a, how);
      end(b, how);
    }
    pairs.clear();
  };

  const pump = (from: Socket, into: Socket, direction: Direction): void => {
    from.on('data', (chunk: Buffer) => {
      let bytes = chunk;
      const due = plan?.direction === direction && bytes.length > plan.left ? plan : undefined;
      if (due?.how === 'flip') {
        bytes = Buffer.from(bytes);
        bytes[due.left] = (bytes[due.left] ?? 0) ^ 1;
        plan = undefined;
      } else if (due !== undefined) {
        bytes = bytes.subarray(0, due.left);
        stalled = due.how === 'stall';
        plan = undefined;
      } else if (plan?.direction === direction) {
        plan.left -= bytes.length;
      }
      passed[direction] += bytes.length;
      if (!into.write(bytes)) from.pause();
      if (due === undefined || due.how === 'flip') return;
      if (due.how === 'stall') {
        for (const pair of pairs) for (const socket of pair) socket.pause();
      } else cut(due.how);
    });
    into.on('drain', () => {
      if (!stalled) from.resume();
    });
    from.on('end', () => into.end());
    from.on('error', () => into.destroy());
    from.on('close', () => into.destroy());
  };

  const server = net.createServer({ allowHalfOpen: true }, (down) => {
    const up = net.connect({ host: '127.0.0.1', port: to, allowHalfOpen: true });
    const pair = [down, up] as const;
    pairs.add(pair);
    down.on('close', () => pairs.delete(pair));
    for (const socket of pair) {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    }
    pump(down, up, 'up');
    pump(up, down, 'down');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    port: (server.address() as AddressInfo).port, // it is not a pipe
    passed,
    get connections() {
      return pairs.size;
    },
    plan(failure) {
      plan = { ...failure, left: failure.after };
    },
    cut,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
