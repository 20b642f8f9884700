import fc from 'fast-check';
import t from 'tap';
import { frame, FRAME, numbers } from '../../conformance/builders/troad-frames.ts';
import { MalformedBytes } from '../core/errors.ts';
import { DATA_BYTES, FrameReader, MAX_STREAM, writeHeader, type FrameEvents } from './frames.ts';

const MAX_HEAD = 1000;

/** What a reader tells, with the parts of DATA put together again. */
class Heard implements FrameEvents {
  readonly seen: string[] = [];
  #left = 0;

  frame(kind: number, stream: number, bytes: Buffer, from: number, to: number): void {
    if (this.#left > 0) throw new Error('a frame inside of data');
    this.seen.push(`${kind} ${stream} ${bytes.toString('hex', from, to)}`);
  }

  data(stream: number, length: number): void {
    if (this.#left > 0) throw new Error('data inside of data');
    this.#left = length;
    this.seen.push(`data ${stream} ${length} `);
  }

  part(bytes: Buffer): void {
    this.#left -= bytes.length;
    if (bytes.length === 0 || this.#left < 0) throw new Error('a part of no size, or too much');
    this.seen.push(`${this.seen.pop()}${bytes.toString('hex')}`);
  }
}

const sizes: Readonly<Record<number, readonly [least: number, most: number]>> = {
  [FRAME.hello]: [12, 12],
  [FRAME.head]: [13, MAX_HEAD],
  [FRAME.data]: [1, DATA_BYTES],
  [FRAME.trailers]: [4, MAX_HEAD],
  [FRAME.reset]: [4, 4],
  [FRAME.credit]: [4, 4],
  [FRAME.ping]: [8, 8],
  [FRAME.pong]: [8, 8],
  [FRAME.drain]: [0, 0],
  [FRAME.bye]: [4, 4],
};
const KINDS = Object.keys(sizes).map(Number);
const ofConnection = (kind: number): boolean =>
  kind === FRAME.hello || (kind >= FRAME.ping && kind <= FRAME.bye);

interface Sample {
  readonly kind: number;
  readonly stream: number;
  readonly payload: Buffer;
}
const sample: fc.Arbitrary<Sample> = fc.constantFrom(...KINDS).chain((kind) => {
  const [least, most] = sizes[kind] ?? [0, 0];
  return fc.record({
    kind: fc.constant(kind),
    stream: ofConnection(kind) ? fc.constant(0) : fc.integer({ min: 1, max: MAX_STREAM }),
    payload: fc
      .uint8Array({ minLength: least, maxLength: Math.min(most, 300) })
      .map((bytes) => Buffer.from(bytes)),
  });
});
const wire = (samples: readonly Sample[]): Buffer =>
  Buffer.concat(samples.map(({ kind, stream, payload }) => frame(kind, stream, payload)));
const told = ({ kind, stream, payload }: Sample): string =>
  kind === FRAME.data
    ? `data ${stream} ${payload.length} ${payload.toString('hex')}`
    : `${kind} ${stream} ${payload.toString('hex')}`;

function read(chunks: readonly Buffer[]): string[] {
  const heard = new Heard();
  const reader = new FrameReader(heard, MAX_HEAD);
  for (const chunk of chunks) reader.push(chunk);
  return heard.seen;
}

const singly = (bytes: Buffer): Buffer[] => Array.from(bytes, (byte) => Buffer.from([byte]));

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const edges = [0, ...at.map((n) => n % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return edges.slice(1).map((end, i) => bytes.subarray(edges[i], end));
}

void t.test('frames come out as they went in, however the bytes are cut', async () => {
  fc.assert(
    fc.property(fc.array(sample, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 6 }), (samples, at) => {
      const bytes = wire(samples);
      const expected = samples.map(told);
      for (const chunks of [[bytes], singly(bytes), cut(bytes, at)]) {
        if (JSON.stringify(read(chunks)) !== JSON.stringify(expected)) return false;
      }
      return true;
    }),
    { numRuns: 300 },
  );
});

void t.test('a cut stream tells only what came whole', async () => {
  fc.assert(
    fc.property(fc.array(sample, { minLength: 1, maxLength: 4 }), (samples) => {
      const bytes = wire(samples);
      const all = samples.map(told);
      for (let length = 0; length < bytes.length; length++) {
        const seen = read([bytes.subarray(0, length)]);
        const last = seen.at(-1);
        // The parts of DATA that came may be told, its end may not.
        const begun = last !== undefined && last.startsWith('data') && all[seen.length - 1]?.startsWith(last);
        const whole = begun === true && last !== all[seen.length - 1] ? seen.slice(0, -1) : seen;
        if (whole.length >= all.length || whole.some((text, i) => text !== all[i])) return false;
      }
      return true;
    }),
    { numRuns: 50 },
  );
});

void t.test('what no frame can be ends the reading', async (t) => {
  const refused = (bytes: Buffer, what: string): void => {
    t.throws(() => read([bytes]), MalformedBytes, what);
    t.throws(() => read(singly(bytes)), MalformedBytes, `${what}, byte by byte`);
  };
  for (let kind = 0; kind < 256; kind++) {
    const [least, most] = sizes[kind] ?? [];
    if (least === undefined || most === undefined) {
      refused(frame(kind, 0), `kind ${kind}`);
      refused(frame(kind, 1, Buffer.alloc(4)), `kind ${kind} on a stream`);
      continue;
    }
    const right = ofConnection(kind) ? 0 : 1;
    if (least > 0) refused(frame(kind, right, Buffer.alloc(least - 1)), `kind ${kind}, too short`);
    const header = Buffer.alloc(8);
    header.writeUIntBE(most + 1, 0, 3);
    header.writeUInt8(kind, 3);
    header.writeUInt32BE(right, 4);
    refused(header, `kind ${kind}, too long: refused before its payload came`);
    refused(frame(kind, 1 - right, Buffer.alloc(least)), `kind ${kind} in the wrong place`);
    if (right === 1) refused(frame(kind, MAX_STREAM + 1, Buffer.alloc(least)), `kind ${kind}, stream 2^31`);
    t.equal(read([frame(kind, right, Buffer.alloc(least))]).length, 1, `kind ${kind}`);
  }
});

void t.test('noise is refused and never anything else', async () => {
  const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
  const nearly = fc.tuple(fc.array(sample, { maxLength: 3 }), noise).map(([samples, end]) => {
    return Buffer.concat([wire(samples), end]);
  });
  fc.assert(
    fc.property(fc.oneof(noise, nearly), (bytes) => {
      const outcome = (chunks: readonly Buffer[]): string => {
        const heard = new Heard();
        const reader = new FrameReader(heard, MAX_HEAD);
        try {
          for (const chunk of chunks) reader.push(chunk);
        } catch (cause) {
          if (!(cause instanceof MalformedBytes)) throw cause;
          heard.seen.push(cause.message);
        }
        return JSON.stringify(heard.seen);
      };
      return outcome([bytes]) === outcome(singly(bytes));
    }),
    { numRuns: 1000 },
  );
});

void t.test('nothing is told after the reader was stopped', async (t) => {
  const seen: number[] = [];
  const reader: FrameReader = new FrameReader(
    {
      frame(kind) {
        seen.push(kind);
        reader.stop();
      },
      data: () => t.fail('data'),
      part: () => t.fail('part'),
    },
    MAX_HEAD,
  );
  reader.push(Buffer.concat([frame(FRAME.drain, 0), frame(FRAME.data, 1, Buffer.alloc(4))]));
  t.strictSame(seen, [FRAME.drain]);
});

void t.test('a header is written as it is read', async (t) => {
  const bytes = Buffer.alloc(10, 0xff);
  t.equal(writeHeader(bytes, 1, FRAME.credit, 7, 4), 9);
  t.strictSame(bytes.subarray(1, 9), frame(FRAME.credit, 7, numbers(0)).subarray(0, 8));
});
