import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Outcome } from './expectations.ts';
import type { Patience } from './link-client.ts';
import { connect, type Target } from './raw-socket.ts';

/**
 * HTTP/2 by hand (RFC 9113, RFC 7541), for what a library refuses to send. Fields are literals without indexing and
 * without Huffman coding: any byte can stand in a name or value.
 */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
const END_STREAM = 1;
const END_HEADERS = 4;
const ACK = 1;

export interface FrameArgs {
  /** Name and value pairs of the HEADERS frame, pseudo-fields included. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly data?: string;
  /** Error code of a RST_STREAM behind the data, which then does not end the stream. */
  readonly reset?: number;
  /** Field section behind the data. */
  readonly trailers?: readonly (readonly [name: string, value: string])[];
}

/** Sends one request frame by frame on a fresh connection. A stream error or GOAWAY counts as closed. */
export async function sendFrames(
  target: Target,
  args: FrameArgs,
  { waitMs, seen }: Patience,
): Promise<Outcome> {
  const socket = await connect({ ...target, tls: { ...target.tls, ALPNProtocols: ['h2'] } });
  const more = args.data !== undefined || args.trailers !== undefined; // else END_STREAM stands on the head
  socket.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0, Buffer.alloc(0))]));
  const section = fieldSection(args.headers);
  socket.write(frame(FRAME.headers, END_HEADERS | (more ? 0 : END_STREAM), 1, section));
  if (args.data !== undefined) {
    const last = args.trailers === undefined && args.reset === undefined;
    socket.write(frame(FRAME.data, last ? END_STREAM : 0, 1, Buffer.from(args.data, 'latin1')));
  }
  if (args.trailers !== undefined) {
    socket.write(frame(FRAME.headers, END_HEADERS | END_STREAM, 1, fieldSection(args.trailers)));
  }
  if (args.reset !== undefined) {
    await seen();
    const code = Buffer.alloc(4);
    code.writeUInt32BE(args.reset);
    socket.write(frame(FRAME.reset, 0, 1, code));
  }
  const { answered, refused, content } = await readFrames(socket, waitMs);
  socket.destroy();
  // Which status it is would take a decoder. A case that sends broken frames asks whether it was accepted, and what
  // came of it in the content.
  const answers = answered ? [{ status: 0, fields: [], body: content, complete: true }] : [];
  return { answers, closed: refused };
}

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function fieldSection(fields: FrameArgs['headers']): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.of(0), literal(name), literal(value)]));
}

/** String literal of RFC 7541 §5.2: length with a 7-bit prefix, then the bytes. */
function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  const length: number[] = [Math.min(bytes.length, 127)];
  if (bytes.length >= 127) {
    let rest = bytes.length - 127;
    for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

async function readFrames(
  socket: Socket,
  waitMs: number,
): Promise<{ answered: boolean; refused: boolean; content: Buffer }> {
  let pending = Buffer.alloc(0);
  let answered = false;
  let refused = false;
  const content: Buffer[] = [];
  const over = new Promise<void>((resolve) => {
    socket.on('close', () => {
      refused = true;
      resolve();
    });
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 9 && pending.length >= 9 + pending.readUIntBE(0, 3)) {
        const length = 9 + pending.readUIntBE(0, 3);
        const [type, flags] = [pending.readUInt8(3), pending.readUInt8(4)];
        const payload = pending.subarray(9, length);
        pending = pending.subarray(length);
        if (type === FRAME.settings && (flags & ACK) === 0)
          socket.write(frame(FRAME.settings, ACK, 0, Buffer.alloc(0)));
        if (type === FRAME.headers) answered = true;
        if (type === FRAME.data) content.push(payload);
        if (type === FRAME.reset || type === FRAME.goAway) refused = true;
        if (refused || (answered && (flags & END_STREAM) !== 0 && type !== FRAME.settings)) resolve();
      }
    });
  });
  await Promise.race([over, delay(waitMs, undefined, { ref: false })]);
  return { answered, refused, content: Buffer.concat(content) };
}
