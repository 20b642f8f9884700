import type { Socket } from 'node:net';

/** A body up to this is copied behind its head: one write of one piece costs less than two pieces. */
const COPY_BYTES = 16 * 1024;
const SLAB_BYTES = 64 * 1024;

/** Writes heads, with what goes with them, through one piece of memory that is used again when the system has taken it. */
export class Outgoing {
  #slab: Buffer | undefined;

  send(socket: Socket, head: string, body: Buffer): void {
    if (body.length > COPY_BYTES || head.length + body.length > SLAB_BYTES) {
      socket.cork();
      socket.write(head, 'latin1');
      socket.write(body);
      socket.uncork();
      return;
    }
    if (body.length === 0) {
      socket.write(head, 'latin1');
      return;
    }
    const slab = (this.#slab ??= Buffer.allocUnsafeSlow(SLAB_BYTES));
    const length = slab.write(head, 'latin1') + body.copy(slab, head.length);
    socket.write(slab.subarray(0, length));
    // What was not taken at once (and nothing is, below TLS) is the socket's until nobody knows when.
    if (socket.writableLength > 0) this.#slab = undefined;
  }
}
