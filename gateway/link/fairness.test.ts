import t from 'tap';
import { makeGateways, makePair, requestHead } from '../../conformance/builders/link-pair.ts';
import { NO_FIELDS } from '../core/fields.ts';
import type { LinkCall } from './link.ts';

// A thousand answers without end over two connections: how what passes is shared among them.

const STREAMS = 1000;
const BLOCK = Buffer.alloc(64 * 1024, 'x');
const NOTHING = { kind: 'whole', bytes: Buffer.alloc(0) } as const;
/** On average each stream gets this much before the count is taken. */
const SHARE_BYTES = 256 * 1024;

async function shares(): Promise<{ least: number; most: number; short: number }> {
  const limits = {
    streamsPerSession: STREAMS,
    waitingPerPeer: STREAMS,
    cancelsPerSecond: STREAMS, // all are broken off at the end
    resetsPerSecond: STREAMS,
  };
  const pair = await makePair({
    gateways: await makeGateways(),
    client: { protocols: ['troad/1'], limits },
    server: { limits },
    onArrival: (arrival) => {
      if (arrival.rawHead.path === '/short') {
        arrival.answer({ status: 200, fields: NO_FIELDS }, { kind: 'whole', bytes: BLOCK.subarray(0, 1024) });
        return;
      }
      const out = arrival.answer({ status: 200, fields: NO_FIELDS }, { kind: 'stream' });
      const push = (): void => {
        while (out.write(BLOCK));
      };
      out.attach({ drain: push, error: () => undefined, finish: () => undefined });
      push();
    },
  });
  const got = Array.from({ length: STREAMS }, () => 0);
  let total = 0;
  let enough: () => void;
  const counted = new Promise<void>((resolve) => (enough = resolve));
  const calls: LinkCall[] = [];
  const begin = async (index: number): Promise<void> => {
    const call = await pair.client.call(pair.target, requestHead('/endless'), NOTHING);
    calls.push(call);
    const { inflow } = await call.answer;
    inflow.start({
      data: (chunk, loan) => {
        got[index] = (got[index] ?? 0) + chunk.length;
        total += chunk.length;
        loan?.done();
        if (total >= STREAMS * SHARE_BYTES) enough();
      },
      end: () => undefined,
      error: () => undefined,
    });
  };
  await Promise.all(got.map((_, index) => begin(index)));
  // Short exchanges in the crowd: the bytes that all others get while one is waited for.
  const short: number[] = [];
  for (let i = 0; i < 20; i += 1) {
    const before = total;
    const call = await pair.client.call(pair.target, requestHead('/short'), NOTHING);
    const { inflow } = await call.answer;
    await new Promise<unknown>((resolve, reject) => {
      inflow.start({ data: () => undefined, end: resolve, error: reject });
    });
    short.push(total - before);
  }
  await counted;
  const parts = got.map((bytes) => bytes / (total / STREAMS));
  for (const call of calls) call.abort(new Error('enough'));
  await pair.close();
  return { least: Math.min(...parts), most: Math.max(...parts), short: Math.max(...short) };
}

void t.test('of a thousand streams none starves, and short messages pass them', async (t) => {
  const { least, most, short } = await shares();
  t.comment(`least ${least.toFixed(2)}, most ${most.toFixed(2)} of an equal share; ${short >> 10} KiB ahead`);
  t.ok(least > 0.3, `the least got ${least.toFixed(2)} of an equal share`);
  t.ok(most < 4, `the most ${most.toFixed(2)}`);
  t.ok(short < 64 << 20, `${short >> 10} KiB of streams passed while a short message was waited for`);
});
