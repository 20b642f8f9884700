import { createSecretKey, randomBytes } from 'node:crypto';
import t from 'tap';
import fc from 'fast-check';
import { utf8 } from '../core/bytes.ts';
import { exchangeId, CONSUMER, originOf, PROVIDER } from '../../conformance/builders/log.ts';
import { Frontier } from '../tlog/frontier.ts';
import { hashText, leafHash } from '../tlog/hash.ts';
import { BlockWriter, coreOf, findBlock, forEachFrame, readBlock } from './block.ts';
import { commitmentText, decodeCore } from './codec.ts';
import { openSection, PlainSection, readSections } from './parts.ts';
import { RandomPool } from './random-pool.ts';
import { RunningExchanges } from './running.ts';
import { draft } from '../../conformance/builders/log.ts';
import { formatSegmentHead, readSegmentHead } from './segment.ts';

const malformed = { name: 'MalformedBytes' };

function blockOf(cores: readonly string[], parts: readonly Buffer[] = [], first = 7n): Buffer {
  const writer = new BlockWriter();
  for (const core of cores) {
    writer.put('a record that is not kept');
    writer.put(core);
    writer.keep();
  }
  return Buffer.from(writer.finish(first, parts, Buffer.alloc(32, 9)));
}

const coresOf = (block: ReturnType<typeof readBlock>): string[] => {
  const cores: string[] = [];
  forEachFrame(block, (prefixed) => cores.push(coreOf(prefixed).toString()));
  return cores;
};

void t.test('a block holds what was put in', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 20 }),
      fc.uint8Array(),
      async (texts, part) => {
        const cores = texts.map((text) => JSON.stringify(text));
        const block = readBlock(blockOf(cores, [Buffer.from(part)]), 0);
        return block.first === 7n && block.parts.equals(part) && coresOf(block).join() === cores.join();
      },
    ),
  );
  t.pass();
});

void t.test('a block cut anywhere, or with any bit turned, is refused', async (t) => {
  const good = blockOf(['{"v":1}', '{"v":2}'], [Buffer.alloc(50, 1)]);
  t.equal(readBlock(good, 0).records, 2);
  for (let length = 0; length < good.length; length += 1) {
    t.throws(() => readBlock(good.subarray(0, length), 0), malformed, `cut to ${length}`);
  }
  for (let bit = 0; bit < good.length * 8; bit += 1) {
    const bad = Buffer.from(good);
    bad.writeUInt8((bad[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3);
    try {
      readBlock(bad, 0);
      t.fail(`bit ${bit}`);
    } catch (thrown) {
      if (!(thrown instanceof Error) || thrown.name !== 'MalformedBytes') throw thrown;
    }
  }
});

void t.test('a whole block is found behind rubbish, a cut one is not', async (t) => {
  const good = blockOf(['{"v":1}']);
  const rubbish = Buffer.concat([Buffer.alloc(100), good.subarray(0, 40), Buffer.from([1, 2, 3])]);
  t.equal(findBlock(Buffer.concat([rubbish, good, Buffer.alloc(9)]), 0), rubbish.length);
  t.equal(findBlock(Buffer.concat([rubbish, good.subarray(0, -1)]), 0), -1);
  t.equal(findBlock(Buffer.alloc(0), 0), -1);
});

void t.test('frames that do not fill their block are refused even under a good checksum', async (t) => {
  const block = readBlock(blockOf(['{"v":1}', '{"v":2}']), 0);
  const skewed = (change: (cores: Buffer) => void) => {
    const cores = Buffer.from(block.cores);
    change(cores);
    return () => forEachFrame({ ...block, cores }, () => undefined);
  };
  t.throws(
    skewed((cores) => cores.writeUInt32BE(6, 0)),
    malformed,
  );
  t.throws(
    skewed((cores) => cores.writeUInt32BE(8, 0)),
    malformed,
  );
  t.throws(
    skewed((cores) => cores.writeUInt32BE(0xffff_ffff, 0)),
    malformed,
  );
  t.throws(() => forEachFrame({ ...block, records: 1 }, () => undefined), malformed);
  t.throws(() => forEachFrame({ ...block, records: 3 }, () => undefined), malformed);
});

void t.test('sealed parts open at their own place, with their own key, whole', async (t) => {
  const key = createSecretKey(randomBytes(32));
  const place = { origin: originOf(CONSUMER), first: 7n, partClass: 'meta', day: '2026-11-22' } as const;
  const plain = new PlainSection('meta');
  const salts = new RandomPool(randomBytes);
  for (const part of [utf8('part 0'), 'part 3']) {
    plain.put(salts, 'not kept');
    plain.put(salts, part);
    plain.keep();
  }
  const sealed = Buffer.concat(plain.seal(place, key, randomBytes(12)));
  const [section, ...more] = readSections(Buffer.concat([sealed, sealed]));
  t.equal(more.length, 1);
  t.match(section, { partClass: 'meta', day: '2026-11-22' });
  const bytes = section?.sealed ?? Buffer.alloc(0);
  t.same(
    openSection(place, bytes, key).map((salted) => Buffer.from(salted.subarray(16)).toString()),
    ['part 0', 'part 3'],
  );
  for (const [what, open] of [
    ['another key', () => openSection(place, bytes, createSecretKey(randomBytes(32)))],
    ['another block', () => openSection({ ...place, first: 8n }, bytes, key)],
    ['another log', () => openSection({ ...place, origin: originOf(PROVIDER) }, bytes, key)],
    ['another class', () => openSection({ ...place, partClass: 'input' }, bytes, key)],
    ['another day', () => openSection({ ...place, day: '2026-11-23' }, bytes, key)],
    [
      'a bit',
      () =>
        openSection(
          place,
          Buffer.concat([bytes.subarray(0, -1), Buffer.from([(bytes.at(-1) ?? 0) ^ 1])]),
          key,
        ),
    ],
    ['nothing', () => openSection(place, Buffer.alloc(0), key)],
    ['a short tag', () => openSection(place, bytes.subarray(0, 27), key)],
    ['cut sections', () => readSections(sealed.subarray(0, -1))],
    ['a head alone', () => readSections(sealed.subarray(0, 9))],
    ['an unknown class', () => readSections(Buffer.concat([Buffer.from([9]), sealed.subarray(1)]))],
    [
      'a day that is none',
      () =>
        readSections(Buffer.concat([sealed.subarray(0, 1), Buffer.from('../../etc/'), sealed.subarray(11)])),
    ],
  ] as const) {
    t.throws(open, malformed, what);
  }
});

void t.test(
  'the same attestation result in a row is written once; of people nothing tells that two parts are alike',
  async (t) => {
    const key = createSecretKey(randomBytes(32));
    const place = { origin: originOf(CONSUMER), first: 7n, day: '2026-11-22' } as const;
    for (const [partClass, written] of [
      ['device', ['one', 'two', 'one']],
      ['subject', ['one', 'one', 'two', 'one', 'one']],
      ['meta', ['one', 'one', 'two', 'one', 'one']],
      ['input', ['one', 'one', 'two', 'one', 'one']],
    ] as const) {
      const plain = new PlainSection(partClass);
      const salts = new RandomPool(randomBytes);
      const commitments = ['one', 'one', 'two', 'one', 'one'].map((part) => {
        plain.put(salts, 'not kept');
        const commitment = plain.put(salts, part);
        plain.keep();
        return commitment;
      });
      t.equal(new Set(commitments).size, written.length, partClass);
      const sealed = Buffer.concat(plain.seal(place, key, randomBytes(12)));
      const [section] = readSections(sealed);
      const opened = openSection({ ...place, partClass }, section?.sealed ?? Buffer.alloc(0), key);
      t.same(
        opened.map((salted) => Buffer.from(salted.subarray(16)).toString()),
        written,
      );
      const told = new Set(opened.map((salted) => commitmentText(partClass, salted)));
      t.ok(
        commitments.every((commitment) => told.has(commitment)),
        'each is found by its commitment',
      );
      plain.clear();
      t.notOk(commitments.includes(plain.put(salts, 'one')), 'another block, another salt');
    }
  },
);

void t.test('a segment head has one spelling', async (t) => {
  const frontier = new Frontier();
  for (let n = 0; n < 11; n += 1) frontier.append(hashText(leafHash(utf8(`${n}`))));
  const running = [
    { x: exchangeId(1), role: 'c', me: CONSUMER, peer: PROVIDER },
    { x: exchangeId(2), role: 'p', me: CONSUMER },
  ] as const;
  const good = formatSegmentHead({ origin: originOf(CONSUMER), frontier, running });
  const { head, end } = readSegmentHead(Buffer.concat([good, Buffer.alloc(5)]));
  t.equal(end, good.length);
  t.same(head.running, running);
  t.same(head.frontier.digest(), frontier.digest());
  for (let length = 0; length < good.length; length += 1) {
    t.throws(() => readSegmentHead(good.subarray(0, length)), malformed);
  }
  for (let bit = 0; bit < good.length * 8; bit += 3) {
    const bad = Buffer.from(good);
    bad.writeUInt8((bad[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3);
    t.throws(() => readSegmentHead(bad), malformed);
  }
});

void t.test('records that are none', async (t) => {
  for (const text of [
    '',
    '{',
    'null',
    '[]',
    '{"v":2,"k":"deny","at":1}',
    '{"v":1,"k":1,"at":1}',
    '{"v":1,"k":"deny","at":1.5}',
  ]) {
    t.throws(() => decodeCore(utf8(text)), malformed, text);
  }
  t.throws(() => decodeCore(Buffer.from([0x7b, 0xff, 0x7d])), malformed, 'not UTF-8');
  t.throws(
    () => decodeCore(Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), utf8('{"v":1,"k":"deny","at":1}')])),
    malformed,
    'a byte order mark',
  );
});

void t.test('which exchanges run', async (t) => {
  const running = new RunningExchanges();
  running.note(draft('open', 1));
  running.note(draft('req.final', 1));
  running.note(draft('req.final', 2));
  running.note(draft('req.final', 3, { out: 'message.digest_mismatch' }));
  running.note(draft('open', 1, { role: 'p' }));
  running.note(draft('replay.seen', 2));
  t.same(
    running.list().map(({ x, role }) => [x, role]),
    [
      [exchangeId(1), 'c'],
      [exchangeId(2), 'c'],
      [exchangeId(1), 'p'],
    ],
  );
  t.ok(running.covers(draft('res.final', 2)));
  t.notOk(running.covers(draft('replay.seen', 2)), 'an imitation is not the exchange');
  t.notOk(running.covers(draft('open', 9)));
  for (const k of ['res.final', 'abort', 'deny', 'sig.bad'] as const) {
    running.note(draft('open', 5));
    running.note(draft(k, 5));
    t.notOk(running.covers(draft('abort', 5)), k);
  }
  const another = draft('open', 0);
  for (let n = 10; n < 70_000; n += 1) running.note({ ...another, x: exchangeId(n) });
  t.equal(running.list().length, 65_536, 'callers that never end their exchanges do not fill the memory');
  running.note(draft('open', 6, { role: 'p' }));
  for (const n of [1, 6])
    t.ok(running.covers(draft('abort', n, { role: 'p' })), 'nor push out what runs at the other end');
  t.equal(running.list().length, 65_536);
});

void t.test('an exchange of a role or a name that no segment head can list does not run', async (t) => {
  const good = draft('open', 1, { role: 'p' });
  for (const nonsense of [
    { role: 'z' },
    { role: undefined },
    { x: 'x' },
    { x: undefined },
    { me: 7 },
    { peer: null },
    { peer: ['a'] },
  ]) {
    const running = new RunningExchanges();
    const record = decodeCore(utf8(JSON.stringify({ v: 1, ...good, ...nonsense })));
    running.note(record);
    t.same(running.list(), [], JSON.stringify(nonsense));
    t.notOk(running.covers(record));
    running.note(good);
    const head = formatSegmentHead({
      ...{ origin: originOf(CONSUMER), frontier: new Frontier() },
      running: running.list(),
    });
    t.equal(readSegmentHead(head).head.running.length, 1);
  }
});
