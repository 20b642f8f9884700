import { createSecretKey, randomBytes } from 'node:crypto';
import t from 'tap';
import fc from 'fast-check';
import { CONSUMER, draft, originOf } from '../../conformance/builders/log.ts';
import { Frontier } from '../tlog/frontier.ts';
import { hashText, leafHash, type HashText } from '../tlog/hash.ts';
import { Batch } from './batch.ts';
import { coreOf, forEachFrame, readBlock } from './block.ts';
import { commitmentOf, decodeCore, membersOf, PART_CLASSES, SALT_BYTES } from './codec.ts';
import { openSection, readSections } from './parts.ts';
import { RandomPool } from './random-pool.ts';

const key = createSecretKey(randomBytes(32));
const place = { origin: originOf(CONSUMER), day: '2026-11-22' };
const keyOf = () => key;

const part = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.uint8Array({ maxLength: 5000 }),
  fc.array(fc.string({ unit: 'grapheme' })),
);
const parts = fc.record(
  { meta: part, input: part, subject: part, device: fc.constantFrom('one', 'two') },
  { requiredKeys: [] },
);
const record = fc.record({ xid: fc.string({ unit: 'binary' }), parts, tooLarge: fc.boolean() });

const bytesOf = (given: string | Uint8Array | readonly string[]): Buffer =>
  given instanceof Uint8Array
    ? Buffer.from(given)
    : Buffer.from(typeof given === 'string' ? given : given.join(''));

void t.test(
  'what was taken is in the block with all its parts, and nothing of what was refused',
  async (t) => {
    const batch = new Batch(1 << 20, new RandomPool(randomBytes));
    const none = (): void => undefined;
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 12 }), (given) => {
        batch.clear();
        const taken = given.filter((one, n) => {
          const plain = draft('deny', n, { xid: one.tooLarge ? 'x'.repeat(70_000) : one.xid });
          try {
            batch.add(plain, membersOf(plain), one.parts, none, none);
          } catch (thrown) {
            if (!(thrown instanceof RangeError)) throw thrown;
            return false;
          }
          return true;
        });
        if (taken.some(({ tooLarge }) => tooLarge)) return false;
        if (taken.length === 0) return batch.contentBytes === 0;
        const most = batch.bytes;
        const settled: HashText[] = [];
        const written = batch.finish(place, keyOf, new Frontier(), (hash) => settled.push(hash));
        if (written.length > most) return false;
        const block = readBlock(written, 0);
        const opened = new Map<string, Buffer>();
        for (const { partClass, sealed } of readSections(block.parts))
          for (const salted of openSection({ ...place, first: 0n, partClass }, sealed, key))
            opened.set(partClass + commitmentOf(salted).c, Buffer.from(salted.subarray(SALT_BYTES)));
        let good = block.records === taken.length;
        forEachFrame(block, (prefixed, n) => {
          const core = decodeCore(coreOf(prefixed));
          const told = taken[n]?.parts ?? {};
          good &&= batch.waiting[n]?.leaf === hashText(leafHash(coreOf(prefixed)));
          for (const name of PART_CLASSES) {
            const [one, commitment] = [told[name], core.parts?.[name]];
            good &&= (one === undefined) === (commitment === undefined);
            if (one === undefined || commitment === undefined) continue;
            const found = opened.get(name + commitment.c);
            good &&= found?.equals(bytesOf(one)) === true && commitment.n === found.length;
          }
        });
        return good;
      }),
      { numRuns: 200 },
    );
    t.pass();
  },
);

void t.test('a batch is full before its block is longer than it may be', async (t) => {
  const batch = new Batch(32_000, new RandomPool(randomBytes));
  const none = (): void => undefined;
  const members = membersOf(draft('deny', 1));
  const meta = 'm'.repeat(900);
  let records = 0;
  for (; batch.hasRoomFor(members, { meta }); records += 1)
    batch.add(draft('deny', 1), members, { meta }, none, none);
  t.ok(records > 5, `${records} records`);
  t.ok(batch.finish(place, keyOf, new Frontier(), none).length <= 32_000);
  batch.clear();
  t.throws(() => batch.add(draft('deny', 1), members, { meta: 'm'.repeat(40_000) }, none, none), {
    name: 'RangeError',
    message: /too large for these segments/,
  });
  t.equal(batch.contentBytes, 0);
});

void t.test('a batch that has room for any record has room for the largest', async (t) => {
  const batch = new Batch(4 << 20, new RandomPool(randomBytes));
  const none = (): void => undefined;
  const members = membersOf(draft('deny', 1));
  const most = Buffer.alloc(1 << 18, 'm');
  const full = { meta: most, input: most, subject: most, device: most };
  let records = 0;
  for (; batch.hasRoomFor(members, full); records += 1)
    batch.add(draft('deny', 1), members, full, none, none);
  t.equal(records, 4, 'of a mebibyte each, but for the device, which is written once');
  t.ok(batch.finish(place, keyOf, new Frontier(), none).length <= 4 << 20);
});
