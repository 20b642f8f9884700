/**
 * What the link alone costs, protocol by protocol: both ends in this process, real TLS over loopback, nothing signed and
 * nothing logged. Slices of a fraction of a second take turns, so that what else the machine does falls on all alike.
 *
 *     node conformance/bench/link.ts [rounds [loads [protocols]]]      link.ts 15 bulk troad/1,h2
 */
import { Buffer } from 'node:buffer';
import type { Fields } from '../../gateway/core/fields.ts';
import { PROTOCOLS, type LinkArrival, type LinkProtocol } from '../../gateway/link/link.ts';
import { makeGateways, makePair, receive, requestHead, type LinkPair } from '../builders/link-pair.ts';
import { median } from './stats.ts';

const ROUNDS = Number(process.argv[2] ?? 15);
const ONLY = process.argv[3] ?? '';
const COMPARED = PROTOCOLS.filter((protocol) => process.argv[4]?.split(',').includes(protocol) ?? true);
const SLICE_MS = 300;
const BULK_BYTES = 64 * 1024 * 1024;
const BODY = Buffer.alloc(1024, 'troad ');
const BLOCK = Buffer.alloc(64 * 1024, 'bulk ');
const CLOSING: Fields = [['t-road-end', 'length=1']];
/** About what a signed exchange carries. */
const FIELDS: Fields = [
  ['content-type', 'application/json'],
  ['x-road-client', 'TW/GOV/A11/welfare'],
  ['x-road-id', '5f2f6a0e-0000-4000-8000-1234567890ab'],
  ['t-road-exchange', `v=1;id="${'x'.repeat(22)}";mode=full;from="gw.a";to="gw.b";at=1790000000;length=1024`],
  ['t-road-policy', `sha-256=:${'p'.repeat(43)}=:;id="admission"`],
  ['content-digest', `sha-256=:${'d'.repeat(43)}=:`],
  [
    'signature-input',
    `final=(${'"x-road-client" '.repeat(12)});created=1790000000;keyid="${'k'.repeat(20)}"`,
  ],
  ['signature', `final=:${'s'.repeat(86)}==:`],
];

function answer(arrival: LinkArrival): void {
  if (arrival.rawHead.path !== '/down') {
    arrival.inflow.start({
      data: () => undefined,
      end: () => arrival.answer({ status: 200, fields: FIELDS }, { kind: 'whole', bytes: BODY }),
      error: () => undefined,
    });
    return;
  }
  const out = arrival.answer({ status: 200, fields: FIELDS }, { kind: 'stream' });
  let left = BULK_BYTES;
  const push = (): void => {
    while (left > 0) {
      left -= BLOCK.length;
      if (!out.write(BLOCK)) return;
    }
    out.end(undefined, CLOSING);
  };
  out.attach({ drain: push, error: () => undefined, finish: () => undefined });
  push();
}

/** CPU seconds of this process, both ends of the link. */
const cpu = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

const LOADS: Readonly<Record<string, (pair: LinkPair) => Promise<number>>> = {
  /** Microseconds an exchange. */
  'small.c1': (pair) => small(pair, 1),
  'small.c8': (pair) => small(pair, 8),
  'small.c64': (pair) => small(pair, 64),
  /** Seconds a GiB. */
  'bulk.down': async (pair) => {
    const began = cpu();
    const call = await pair.client.call(pair.target, requestHead('/down'), { kind: 'whole', bytes: BODY });
    const { inflow } = await call.answer;
    await new Promise<unknown>((resolve, reject) => {
      inflow.start({ data: () => undefined, end: resolve, error: reject });
    });
    return ((cpu() - began) / BULK_BYTES) * 1024 ** 3;
  },
  'bulk.up': async (pair) => {
    const began = cpu();
    const call = await pair.client.call(pair.target, requestHead('/up'), { kind: 'stream' });
    let left = BULK_BYTES;
    const push = (): void => {
      while (left > 0) {
        left -= BLOCK.length;
        if (!call.outflow.write(BLOCK)) return;
      }
      call.outflow.end(undefined, CLOSING);
    };
    call.outflow.attach({ drain: push, error: () => undefined, finish: () => undefined });
    push();
    await receive((await call.answer).inflow);
    return ((cpu() - began) / BULK_BYTES) * 1024 ** 3;
  },
};

async function small(pair: LinkPair, inFlight: number): Promise<number> {
  const began = cpu();
  const until = performance.now() + SLICE_MS;
  let done = 0;
  const asker = async (): Promise<void> => {
    while (performance.now() < until) {
      const head = requestHead('/r1/TW/GOV/B07/housing/echo', { fields: FIELDS });
      const call = await pair.client.call(pair.target, head, { kind: 'whole', bytes: BODY });
      const { inflow } = await call.answer;
      const bytes = await new Promise<number>((resolve, reject) => {
        let size = 0;
        inflow.start({ data: (chunk) => (size += chunk.length), end: () => resolve(size), error: reject });
      });
      if (bytes !== BODY.length) throw new Error(`${bytes} bytes`);
      done++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, asker));
  return ((cpu() - began) / done) * 1e6;
}

const gateways = await makeGateways();
const pairs = new Map<LinkProtocol, LinkPair>();
for (const protocol of COMPARED) {
  pairs.set(protocol, await makePair({ gateways, onArrival: answer, client: { protocols: [protocol] } }));
}
for (const [name, load] of Object.entries(LOADS)) {
  if (!name.startsWith(ONLY)) continue;
  const samples = new Map<LinkProtocol, number[]>(COMPARED.map((protocol) => [protocol, []]));
  for (let round = -3; round < ROUNDS; round++) {
    for (const [protocol, pair] of pairs) {
      const cost = await load(pair);
      if (round >= 0) samples.get(protocol)?.push(cost); // the first ones warm up
    }
  }
  const base = samples.get('h2') ?? [];
  const columns = COMPARED.map((protocol) => {
    const costs = samples.get(protocol) ?? [];
    const ratio = median(costs.map((cost, i) => cost / (base[i] ?? NaN)));
    const digits = name.startsWith('bulk') ? 2 : 0;
    return `${protocol} ${median(costs).toFixed(digits)} (least ${Math.min(...costs).toFixed(digits)}, ${ratio.toFixed(2)} × h2)`;
  });
  console.log(`${name.padEnd(10)} ${columns.join('   ')}`);
}
for (const pair of pairs.values()) await pair.close();
