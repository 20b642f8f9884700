import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, TLSSocket, type ConnectionOptions } from 'node:tls';
import { setTimeout as delay } from 'node:timers/promises';
import { answersIn } from './responses.ts';

/** What a client does on one connection, in order. */
export type Step =
  | { readonly send: Buffer }
  /** Sends the bytes one a packet, with a pause behind each. */
  | { readonly drip: Buffer; readonly everyMs: number }
  | { readonly pauseMs: number }
  /** Waits until so many complete answers were received, or the other side closed. */
  | { readonly awaitAnswers: number }
  /** Waits for what happens elsewhere, or until the other side closed. */
  | { readonly wait: () => Promise<void> }
  | { readonly end: 'fin' | 'rst' };

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly tls?: ConnectionOptions;
}

export interface Transcript {
  readonly received: Buffer;
  /** How the other side ended it; `open` when it had not within `waitMs`. */
  readonly ending: 'fin' | 'reset' | 'open';
}

const GRACE_MS = 30;
/** For what has to come: however busy the machine is, it does within that. */
export const PATIENCE_MS = 20_000;

/**
 * Plays one script on one connection and says what came back. Writing goes on when the other side has stopped taking
 * bytes: that it did is part of the answer.
 * @param waitMs how long to wait for the other side to close after the last step
 * @param enough ends the wait early (after a grace, in which too much may still come) when what was received is all
 */
export async function converse(
  target: Target,
  script: readonly Step[],
  waitMs: number,
  enough: (received: Buffer) => boolean = () => false,
): Promise<Transcript> {
  const socket = await connect(target);
  const chunks: Buffer[] = [];
  let ending: Transcript['ending'] = 'open';
  let over = false;
  const closed = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
    });
    socket.on('end', () => {
      if (ending === 'open') ending = 'fin';
      resolve();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') ending = 'reset';
    });
    socket.on('close', () => resolve());
  });
  try {
    for (const step of script) {
      if (socket.destroyed || ending !== 'open') break;
      if ('send' in step) socket.write(step.send);
      else if ('pauseMs' in step) await Promise.race([delay(step.pauseMs), closed]);
      else if ('wait' in step) await Promise.race([step.wait(), closed]);
      else if ('awaitAnswers' in step)
        await waitFor(() => answersIn(Buffer.concat(chunks)) >= step.awaitAnswers, closed);
      else if ('drip' in step) await drip(socket, step.drip, step.everyMs, () => ending !== 'open');
      else if (step.end === 'fin') socket.end();
      else if (socket instanceof TLSSocket) socket.destroy();
      else socket.resetAndDestroy();
    }
    const satisfied = waitFor(() => over || enough(Buffer.concat(chunks)), closed).then(() =>
      delay(GRACE_MS),
    );
    await Promise.race([closed, satisfied, delay(waitMs, undefined, { ref: false })]);
    over = true;
  } finally {
    socket.destroy();
  }
  return { received: Buffer.concat(chunks), ending };
}

/** A connected socket; errors after that are left to its listeners. */
export function connect(target: Target): Promise<Socket> {
  const { host, port, tls } = target;
  return new Promise((resolve, reject) => {
    const socket: Socket =
      tls === undefined
        ? connectTcp({ host, port, noDelay: true, allowHalfOpen: true }, () => settled())
        : connectTls({ host, port, ALPNProtocols: ['http/1.1'], ...tls }, () => settled());
    const settled = (): void => {
      socket.off('error', reject);
      socket.on('error', () => undefined);
      resolve(socket);
    };
    socket.once('error', reject);
  });
}

async function drip(socket: Socket, bytes: Buffer, everyMs: number, over: () => boolean): Promise<void> {
  for (const byte of bytes) {
    if (over()) return;
    socket.write(Buffer.of(byte));
    await delay(everyMs);
  }
}

async function waitFor(condition: () => boolean, closed: Promise<void>): Promise<void> {
  let over = false;
  void closed.then(() => (over = true));
  while (!condition() && !over) await delay(2);
}
