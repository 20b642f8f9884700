import { randomBytes } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import {
  makeGateways,
  makePair,
  receive,
  requestHead,
  send,
  type Received,
} from '../../conformance/builders/link-pair.ts';
import { NO_FIELDS } from '../core/fields.ts';
import type { Inflow, Loan } from '../core/flow.ts';
import type { LinkArrival, LinkProtocol } from './link.ts';

// Memory that bodies lie in is used again while other bodies are under way. Whoever reads it in time sees every byte.

const gateways = await makeGateways();
const CONTENT = randomBytes(8 << 20);
const NONE = Buffer.alloc(0);
const CLOSING = [['t-road-end', 'length=1']] as const;

/** Of odd sizes, so that frames, records and chunks do not fall together. */
function* pieces(): Generator<Buffer> {
  for (let at = 0, size = 1; at < CONTENT.length; at += size, size = ((size * 7) % 150_001) + 1) {
    yield CONTENT.subarray(at, at + size);
  }
}

interface Seen {
  readonly same: boolean;
  readonly bytes: number;
  readonly lent: number;
  readonly buffers: number;
}

/**
 * Reads a body, up to `most` chunks behind: each is compared only when that many came after it, or when the body is over.
 * @param early gives the memory back before it was read
 */
function late(inflow: Inflow, most: number, early = false): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const held: { chunk: Buffer; loan: Loan | undefined; size: number }[] = [];
    const buffers = new Set<ArrayBufferLike>();
    let [bytes, lent, same] = [0, 0, true];
    const read = (keep: number): void => {
      while (held.length > keep) {
        const next = held.shift();
        if (next === undefined) return;
        same &&= next.chunk.equals(CONTENT.subarray(bytes, bytes + next.size));
        bytes += next.size;
        if (!early) next.loan?.done();
      }
    };
    inflow.start({
      data: (chunk, loan) => {
        held.push({ chunk, loan, size: chunk.length });
        if (loan !== undefined) {
          lent += 1;
          buffers.add(chunk.buffer); // a copy has memory of its own, which nobody gives back
        }
        if (early) loan?.done();
        read(most);
        if (held.length < most || most === 0) return;
        inflow.pause();
        void turn().then(() => inflow.resume());
      },
      end: () => {
        read(0);
        resolve({ same, bytes, lent, buffers: buffers.size });
      },
      error: reject,
    });
  });
}

/** A body each way at the same time. */
async function both(protocol: LinkProtocol, most: number, early = false): Promise<{ up: Seen; down: Seen }> {
  const uploads: Promise<Seen>[] = [];
  const answer = (arrival: LinkArrival): void => {
    const { path } = arrival.rawHead;
    const respond = (): Promise<void> =>
      send(
        arrival.answer({ status: 200, fields: NO_FIELDS }, { kind: 'stream' }),
        path === '/down' ? pieces() : [],
        CLOSING,
      );
    if (path === '/down') void respond();
    else {
      const seen = late(arrival.inflow, most, early);
      uploads.push(seen);
      void seen.then(respond);
    }
  };
  const pair = await makePair({ gateways, client: { protocols: [protocol] }, onArrival: answer });
  const upload = async (): Promise<void> => {
    const call = await pair.client.call(pair.target, requestHead('/up'), { kind: 'stream' });
    await send(call.outflow, pieces(), CLOSING);
    await receive((await call.answer).inflow);
  };
  const download = async (): Promise<Seen> => {
    const nothing = { kind: 'whole', bytes: NONE } as const;
    const call = await pair.client.call(pair.target, requestHead('/down'), nothing);
    return late((await call.answer).inflow, most, early);
  };
  const [, down] = await Promise.all([upload(), download()]);
  const [up] = await Promise.all(uploads);
  await pair.close();
  if (up === undefined) throw new Error('nothing came up');
  return { up, down };
}

for (const protocol of ['troad/1', 'h2', 'http/1.1'] as const) {
  void t.test(`${protocol}: every byte arrives, whether its memory comes back at once or late`, async (t) => {
    for (const most of [0, 5, 40]) {
      const { up, down } = await both(protocol, most);
      t.match(up, { same: true, bytes: CONTENT.length }, `up, ${most} behind`);
      t.match(down, { same: true, bytes: CONTENT.length }, `down, ${most} behind`);
    }
  });
}

void t.test('troad/1: memory that came back is read into again', async (t) => {
  const { up, down } = await both('troad/1', 0);
  t.ok(down.lent > 100, `${down.lent} chunks were lent`);
  t.ok(down.buffers < down.lent / 4, `in ${down.buffers} buffers`);
  t.ok(up.lent > 400, `${up.lent} chunks were lent`);
});

void t.test(
  'troad/1: memory that comes back too early has other bytes, and this test would see it',
  async (t) => {
    const { up, down } = await both('troad/1', 5, true);
    t.equal(down.same, false);
    t.equal(up.same, false);
  },
);

void t.test('troad/1: a part that waits does not keep the memory of its neighbours', async (t) => {
  const PART = 9000;
  const PARTS = 7; // as much as may wait unread
  const more: (() => void)[] = [];
  const pair = await makePair({
    gateways,
    client: { protocols: ['troad/1'], limits: { sessionsPerPeer: 1 } },
    onArrival: (arrival) => {
      const out = arrival.answer({ status: 200, fields: NO_FIELDS }, { kind: 'stream' });
      const bytes = arrival.rawHead.path === '/slow' ? PART : 128 * 1024 - PART;
      let left = PARTS;
      const push = (): void => {
        if (left-- > 0) out.write(CONTENT.subarray(left * PART, left * PART + bytes));
        else out.end(undefined, CLOSING);
      };
      out.attach({ drain: () => undefined, error: () => undefined, finish: () => undefined });
      more.push(push);
    },
  });
  const nothing = { kind: 'whole', bytes: NONE } as const;
  const calls = await Promise.all(
    ['/quick', '/slow'].map((path) => pair.client.call(pair.target, requestHead(path), nothing)),
  );
  const [quick, slow] = await Promise.all(calls.map(async (call) => (await call.answer).inflow));
  if (slow === undefined || quick === undefined) throw new Error('two were asked');
  const kept: Buffer[] = [];
  const over = new Promise<void>((resolve, reject) => {
    slow.start({ data: (chunk) => kept.push(chunk), end: () => resolve(), error: reject });
  });
  slow.pause();
  const passed = new Promise<void>((resolve, reject) => {
    quick.start({ data: (_, loan) => loan?.done(), end: () => resolve(), error: reject });
  });
  for (let i = 0; i <= PARTS; i += 1) {
    for (const push of more) push();
    await turn();
  }
  await passed;
  slow.resume();
  await over;
  const memory = new Set(kept.map(({ buffer }) => buffer));
  const bytes = Array.from(memory).reduce((sum, { byteLength }) => sum + byteLength, 0);
  t.equal(Buffer.concat(kept).length, PART * PARTS);
  t.ok(bytes <= 4 * PART * PARTS, `${bytes} bytes of memory for ${PART * PARTS}`);
  await pair.close();
});

void t.test('troad/1: content in pieces of one byte is held back before it costs much', async (t) => {
  let received: Promise<Received> | undefined;
  const pair = await makePair({
    gateways,
    client: { protocols: ['troad/1'] },
    onArrival: (arrival) => {
      received = receive(arrival.inflow);
      void received.then(() =>
        arrival.answer({ status: 204, fields: NO_FIELDS }, { kind: 'whole', bytes: NONE }),
      );
    },
  });
  const { outflow, answer } = await pair.client.call(pair.target, requestHead('/up'), { kind: 'stream' });
  let [written, mostAtOnce] = [0, 0];
  await new Promise<void>((resolve, reject) => {
    const push = (): void => {
      const before = written;
      let roomy = true;
      while (roomy && written < 20_000) {
        roomy = outflow.write(CONTENT.subarray(written, written + 1));
        written += 1;
      }
      mostAtOnce = Math.max(mostAtOnce, written - before);
      if (written === 20_000) outflow.end(undefined, CLOSING);
    };
    outflow.attach({ drain: push, error: reject, finish: resolve });
    push();
  });
  await answer;
  t.ok(mostAtOnce < 1000, `${mostAtOnce} pieces wait at most`);
  t.ok((await received)?.bytes.equals(CONTENT.subarray(0, 20_000)));
  await pair.close();
});
