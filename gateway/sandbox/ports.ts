import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Ports of one block: the first is the guard, the others are handed out. */
const BLOCK = 32;
/** Below are the ports of well-known development servers. */
const LOWEST = 10_240;
const TRIES = 200;
/** How long a gateway that was killed may take to let go of its ports. */
const PATIENCE_MS = 3000;
const LOOK_EVERY_MS = 100;

/**
 * A block of loopback ports of this process, which keeps it until {@link PortBlock.release}.
 *
 * Addresses stand in the signed registry before anybody listens, so ports are chosen first and opened later. A port
 * that the system chose is lost in between to any connection that goes out, and two sandboxes would choose the same.
 * So ports come from outside of the range for outgoing connections, and the block's first one stays open as the guard:
 * who holds it owns the block.
 */
export class PortBlock {
  readonly first: number;
  readonly #guard: Server;
  #next: number;

  private constructor(first: number, guard: Server) {
    this.first = first;
    this.#guard = guard;
    this.#next = first + 1;
  }

  /**
   * @param wanted first port of the block of an earlier start: taken again when it is free
   * @throws Error when no block is free
   */
  static async claim(wanted?: number): Promise<PortBlock> {
    const [low, high] = await portRange();
    const blocks = Math.floor((high - low) / BLOCK);
    // Far apart for processes that start one after another, and the same for no two of them.
    const start = (process.pid * 61) % blocks;
    for (let tried = -1; tried < Math.min(blocks, TRIES); tried++) {
      const first = tried < 0 ? wanted : low + ((start + tried) % blocks) * BLOCK;
      const guard = first === undefined ? undefined : await opened(first);
      if (first === undefined || guard === undefined) continue;
      const block = new PortBlock(first, guard);
      if (await block.#freed(tried < 0 ? PATIENCE_MS : 0)) return block;
      await block.release();
    }
    throw new Error(`no ${String(BLOCK)} ports in a row are free between ${String(low)} and ${String(high)}`);
  }

  /** The next port that nobody has. @throws Error when the block is used up */
  take(): number {
    if (this.#next >= this.first + BLOCK)
      throw new Error(`more than ${String(BLOCK - 1)} ports of one block`);
    return this.#next++;
  }

  async release(): Promise<void> {
    await closed(this.#guard);
  }

  /** Those who had the block before may still be about to end. */
  async #freed(withinMs: number): Promise<boolean> {
    for (let waited = 0; ; waited += LOOK_EVERY_MS) {
      if (await this.#free()) return true;
      if (waited >= withinMs) return false;
      await delay(LOOK_EVERY_MS);
    }
  }

  /** Whether no other program sits on one of the ports. */
  async #free(): Promise<boolean> {
    for (let port = this.first + 1; port < this.first + BLOCK; port++) {
      const server = await opened(port);
      if (server === undefined) return false;
      await closed(server);
    }
    return true;
  }
}

/** Where the system takes no port for a connection that goes out. */
async function portRange(): Promise<readonly [low: number, high: number]> {
  const text = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '32768 60999');
  const [low = 32_768, high = 60_999] = text.trim().split(/\s+/).map(Number);
  if (low - LOWEST >= 1024) return [LOWEST, low];
  if (65_535 - high >= 1024) return [high + 1, 65_535];
  return [LOWEST, 65_535]; // a host that gives all of them out: a lost port shows as a start that fails
}

async function opened(port: number): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  server.listen({ port, host: '127.0.0.1' });
  server.unref(); // a port that is only kept keeps no process alive
  try {
    await once(server, 'listening');
    return server;
  } catch {
    return undefined;
  }
}

const closed = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
  });
