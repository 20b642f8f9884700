import fc from 'fast-check';
import { createHash } from 'node:crypto';
import t from 'tap';
import {
  agileLog,
  agileRecord,
  event,
  eventDigest,
  healthyBoot,
  le32,
  sha1Record,
  specIdRecord,
  startupLocality,
} from '../../conformance/builders/event-log.ts';
import { HASH } from './algorithm.ts';
import { EV, MAX_LOG_BYTES, parseEventLog, replay } from './event-log.ts';

const malformed = { name: 'MalformedBytes' };
const boot = healthyBoot();
const log = agileLog(boot, [HASH.sha256, HASH.sha1]);
const header = specIdRecord([HASH.sha256]);
const record = (pcr: number, type: number, text: string) =>
  agileRecord(event(pcr, type, text), [HASH.sha256]);

/** The same with nothing but a hash object: an independent replay. */
function byHand(algorithm: string, bytes: number, pcr: number): Buffer {
  let value = Buffer.alloc(bytes);
  for (const built of boot.filter((one) => one.pcr === pcr)) {
    const measured = createHash(algorithm)
      .update(built.measured ?? built.data)
      .digest();
    value = createHash(algorithm).update(value).update(measured).digest();
  }
  return value;
}

void t.test('replays each bank of a crypto-agile log', async (t) => {
  const parsed = parseEventLog(log);
  t.same(parsed.banks, [0x000b, 0x0004]);
  for (const [hash, bytes] of [
    [HASH.sha256, 32],
    [HASH.sha1, 20],
  ] as const) {
    const pcrs = replay(parsed, hash);
    t.same(
      [...pcrs.keys()].toSorted((a, b) => a - b),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    );
    for (const [pcr, { value }] of pcrs) t.same(value, byHand(hash.name, bytes, pcr), `${hash.name} ${pcr}`);
  }
  t.equal(replay(parsed, HASH.sha256).get(7)?.digests.length, 7);
});

void t.test('replays a SHA-1 log', async (t) => {
  const old = parseEventLog(Buffer.concat(boot.map((built) => sha1Record(built))));
  t.same(old.banks, [0x0004]);
  t.same(replay(old, HASH.sha1).get(4)?.value, byHand('sha1', 20, 4));
  t.throws(() => replay(old, HASH.sha256), malformed, '55 only SHA-1 present');
});

void t.test('well-known digests of the specification', async (t) => {
  const separator = eventDigest({ pcr: 0, type: EV.separator, data: Buffer.alloc(4) });
  t.equal(separator.toString('hex'), 'df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119');
});

void t.test('the locality of the start is where PCR 0 begins, other PCRs at zero or ones', async (t) => {
  const at3 = parseEventLog(
    agileLog([startupLocality(3), event(0, 8, 'x'), event(17, 8, 'x'), event(23, 8, 'x')]),
  );
  const pcrs = replay(at3, HASH.sha256);
  const start = (fill: number, last: number): Buffer => {
    const value = Buffer.alloc(32, fill);
    value.writeUInt8(last, 31);
    return createHash('sha256').update(value).update(createHash('sha256').update('x').digest()).digest();
  };
  t.same(pcrs.get(0)?.value, start(0, 3));
  t.same(pcrs.get(17)?.value, start(0xff, 0xff));
  t.same(pcrs.get(23)?.value, start(0, 0));
});

void t.test('52 a late or second StartupLocality is refused', async (t) => {
  for (const events of [
    [event(0, 8, 'x'), startupLocality(3)],
    [startupLocality(0), startupLocality(3)],
    [{ ...startupLocality(3), pcr: 1 }],
    [startupLocality(5)],
    [{ ...startupLocality(3), data: startupLocality(3).data.subarray(0, 16) }],
  ]) {
    t.throws(() => parseEventLog(agileLog(events)), malformed);
  }
  parseEventLog(agileLog([event(7, 8, 'x'), startupLocality(3)]));
});

void t.test('43 truncated, empty, with garbage behind', async (t) => {
  const ends = new Set([header.length]);
  let at = header.length;
  for (const built of boot) ends.add((at += agileRecord(built, [HASH.sha256]).length));
  const whole = agileLog(boot);
  for (let length = 0; length < whole.length; length += 1) {
    const cut = whole.subarray(0, length);
    if (ends.has(length)) parseEventLog(cut);
    else t.throws(() => parseEventLog(cut), malformed, `${length}`);
  }
  for (const garbage of ['00', 'ffffffff', '00000000000000000000']) {
    t.throws(() => parseEventLog(Buffer.concat([whole, Buffer.from(garbage, 'hex')])), malformed);
  }
});

for (const [what, bytes] of [
  ['44 2^31 - 1 digests', agileRecord(event(0, 8, 'x'), [HASH.sha256], 0x7fff_ffff)],
  ['44 fewer digests than announced', agileRecord(event(0, 8, 'x'), [], 0)],
  ['44 a digest of a bank that was not announced', agileRecord(event(0, 8, 'x'), [HASH.sha1])],
  ['45 PCR 24', record(24, 8, 'x')],
  ['45 PCR 2^32 - 1', record(0xffff_ffff, 8, 'x')],
  [
    'an event that says it is 4 GiB long',
    Buffer.concat([record(0, 8, '').subarray(0, -4), le32(0xffff_ffff)]),
  ],
] as const) {
  void t.test(`refuses ${what}`, async (t) => {
    t.throws(() => parseEventLog(Buffer.concat([header, bytes])), malformed);
  });
}

for (const [what, bytes] of [
  ['44 one bank announced twice', specIdRecord([HASH.sha256, HASH.sha256])],
  ['44 a wrong digest size', specIdRecord([{ id: 0x000b, bytes: 20 }])],
  ['44 no bank', specIdRecord([])],
  ['44 more banks than are listed', specIdRecord([HASH.sha256], { count: 2 })],
  ['44 2^31 - 1 banks', specIdRecord([HASH.sha256], { count: 0x7fff_ffff })],
  ['44 an empty digest', specIdRecord([{ id: 0x0012, bytes: 0 }])],
] as const) {
  void t.test(`refuses a header with ${what}`, async (t) => {
    t.throws(() => parseEventLog(bytes), malformed);
  });
}

void t.test('a header may announce a hash we do not know, and vendor bytes', async (t) => {
  const sm3 = { id: 0x0012, name: 'sha256', bytes: 32 } as const;
  const mixed = Buffer.concat([
    specIdRecord([sm3, HASH.sha256], { vendor: Buffer.alloc(7, 1) }),
    agileRecord(event(4, 8, 'x'), [sm3, HASH.sha256]),
  ]);
  t.same(parseEventLog(mixed).banks, [0x0012, 0x000b]);
  t.equal(replay(parseEventLog(mixed), HASH.sha256).get(4)?.digests.length, 1);
});

void t.test('44 two digests of one bank in an event', async (t) => {
  const two = specIdRecord([HASH.sha256, HASH.sha1]);
  const twice = agileRecord(event(0, 8, 'x'), [HASH.sha256, HASH.sha256]);
  t.throws(() => parseEventLog(Buffer.concat([two, twice])), malformed);
});

void t.test('Windows ends its log with entries of no PCR', async (t) => {
  const end = { pcr: 0xffff_ffff, type: EV.noAction, data: Buffer.from('end') };
  t.same(
    replay(parseEventLog(agileLog([...boot, end])), HASH.sha256),
    replay(parseEventLog(agileLog(boot)), HASH.sha256),
  );
});

void t.test('54 too long, too many events', async (t) => {
  t.throws(() => parseEventLog(Buffer.alloc(MAX_LOG_BYTES + 1)), malformed);
  const one = record(4, 8, '');
  parseEventLog(Buffer.concat([header, ...Array.from({ length: 5000 }, () => one)]));
  t.throws(
    () => parseEventLog(Buffer.concat([header, ...Array.from({ length: 5001 }, () => one)])),
    malformed,
  );
});

void t.test(
  '46 an entry relabelled NO_ACTION is left out of the replay, so its PCR no longer agrees',
  async (t) => {
    const relabelled = boot.map((built) => (built.pcr === 9 ? { ...built, type: EV.noAction } : built));
    t.equal(replay(parseEventLog(agileLog(relabelled)), HASH.sha256).get(9), undefined);
  },
);

void t.test(
  'any flipped byte gives a log or MalformedBytes, and other PCRs whenever a digest changed',
  async () => {
    const whole = agileLog(boot);
    const truth = JSON.stringify([...replay(parseEventLog(whole), HASH.sha256)]);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const bytes = Buffer.from(whole);
        bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at);
        try {
          const parsed = parseEventLog(bytes);
          const same = JSON.stringify([...replay(parsed, HASH.sha256)]) === truth;
          const digests = (events: typeof parsed.events) =>
            events.map(({ pcr, digests: of }) => [pcr, Buffer.from(of.get(0x000b) ?? []).toString('hex')]);
          const equal =
            JSON.stringify(digests(parsed.events)) === JSON.stringify(digests(parseEventLog(whole).events));
          return same === equal;
        } catch (thrown) {
          return thrown instanceof Error && thrown.name === 'MalformedBytes';
        }
      }),
      { numRuns: 3000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          return parseEventLog(bytes).events.length < 10;
        } catch (thrown) {
          return thrown instanceof Error && thrown.name === 'MalformedBytes';
        }
      }),
    );
  },
);
