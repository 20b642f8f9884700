import t from 'tap';
import { Disk } from '../../conformance/builders/disk.ts';
import { formatSlot, HeadFile, headsIn, readHead, SLOT_BYTES } from './head-file.ts';

const PATH = '/log/head';
const note = (n: number): string =>
  `gw.example/log/1\n${n}\n${'r'.repeat(44)}\n\n— gw.example/log/1 ${'s'.repeat(700)}\n`;
const isFatal = { name: 'Fatal', message: /another writer/ };

async function opened(disk: Disk): Promise<HeadFile> {
  return new HeadFile(disk, PATH, await disk.readFile(PATH));
}

async function stored(
  ...numbers: readonly number[]
): Promise<{ disk: Disk; head: HeadFile; bytes: () => Promise<Buffer> }> {
  const disk = new Disk();
  await disk.makeDir('/log');
  const head = await opened(disk);
  for (const n of numbers) await head.store(note(n));
  const bytes = async (): Promise<Buffer> => (await disk.readFile(PATH)) ?? Buffer.alloc(0);
  return { disk, head, bytes };
}

void t.test('the newest head is read, and the one before it stands beside it', async (t) => {
  const { disk, head, bytes } = await stored();
  t.equal(head.note, undefined);
  for (let n = 1; n < 12; n += 1) {
    await head.store(note(n));
    const file = await bytes();
    t.equal(readHead(file), note(n));
    t.equal(head.note, note(n));
    t.equal(file.length, 2 * SLOT_BYTES);
    if (n > 1) t.ok(file.includes(note(n - 1)));
    if (n === 5) await head.close();
  }
  const again = await opened(disk);
  await again.store(note(12));
  t.equal(readHead(await bytes()), note(12), 'of another process');
  await Promise.all([again.store(note(13)), again.store(note(14))]);
  t.equal(readHead(await bytes()), note(14), 'one after the other');
  await again.close();
});

void t.test('power fails at any byte of a head: it is there, or the one before it', async (t) => {
  for (const numbers of [
    [1, 2],
    [1, 2, 3],
  ]) {
    const before = await (await stored(...numbers.slice(0, -1))).bytes();
    const after = await (await stored(...numbers)).bytes();
    const last = numbers.at(-1) ?? 0;
    const at = last % 2 === 0 ? SLOT_BYTES : 0;
    let heads = '';
    for (let written = 0; written <= SLOT_BYTES; written += 1) {
      const file = Buffer.concat([
        before.subarray(0, at),
        after.subarray(at, at + written),
        before.subarray(at + written, at + SLOT_BYTES),
        before.subarray(at + SLOT_BYTES),
      ]);
      const head = readHead(file);
      heads += head === note(last) ? 'n' : head === note(last - 1) ? 'o' : 'x';
    }
    t.match(heads, /^o+n+$/, `${numbers.length} heads`);
  }
  for (let bit = 0; bit < 8 * 900; bit += 1) {
    const { number, text } = { number: 7, text: note(7) };
    const slot = formatSlot({ number, note: text });
    const at = bit >> 3;
    slot.writeUInt8((slot[at] ?? 0) ^ (1 << (bit & 7)), at);
    if (readHead(Buffer.concat([formatSlot({ number: 6, note: 'six' }), slot])) !== 'six') {
      // Behind its end a slot says nothing.
      t.ok(at >= Buffer.byteLength(text) + 20, `bit ${bit}`);
    }
  }
});

void t.test(
  'an auditor is told every head of the file, and of every slot that is not as it was written',
  async (t) => {
    const { bytes } = await stored(1);
    t.same(headsIn(await bytes()), [note(1)], 'a slot that was never written is none');
    const file = await (await stored(1, 2, 3)).bytes();
    t.same(headsIn(file), [note(3), note(2)]);
    t.same(headsIn(Buffer.from(note(1))), [note(1)], 'a log of before slots');
    for (let bit = 0; bit < 8 * file.length; bit += 11) {
      const bad = Buffer.from(file);
      bad.writeUInt8((bad[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3);
      const heads = headsIn(bad);
      if (heads.length !== 2 || heads.filter((head) => head === undefined).length !== 1) t.fail(`bit ${bit}`);
    }
    for (const cut of [0, 100, SLOT_BYTES, SLOT_BYTES + 1]) {
      if (headsIn(file.subarray(0, cut)).includes(note(2))) t.fail(`cut to ${cut}`);
    }
  },
);

void t.test('a log of before slots is read, and its head replaced', async (t) => {
  const { disk, bytes } = await stored(1);
  disk.poke(PATH, () => Buffer.from(note(8)));
  const head = await opened(disk);
  t.equal(head.note, note(8));
  await head.store(note(9));
  t.equal(readHead(await bytes()), note(9));
  t.equal(readHead(Buffer.from('rubbish')), 'rubbish', 'no head, and the check of its signature says so');
  await head.close();
});

void t.test('another writer is noticed before the next head is written', async (t) => {
  for (const [what, change] of [
    [
      'wrote into the other slot',
      (disk: Disk) =>
        disk.poke(PATH, (bytes) =>
          Buffer.concat([bytes.subarray(0, SLOT_BYTES), formatSlot({ number: 8, note: note(99) })]),
        ),
    ],
    [
      'wrote into the same slot',
      (disk: Disk) =>
        disk.poke(PATH, (bytes) =>
          Buffer.concat([formatSlot({ number: 9, note: note(99) }), bytes.subarray(SLOT_BYTES)]),
        ),
    ],
    ['left a file of before slots', (disk: Disk) => disk.poke(PATH, () => Buffer.from(note(3)))],
    ['took it away', (disk: Disk) => disk.remove(PATH)],
  ] as const) {
    const { disk, head } = await stored(1, 2, 3);
    await change(disk);
    await t.rejects(head.store(note(4)), isFatal, what);
    await t.rejects(head.store(note(5)), isFatal, `${what}: for good`);
    await head.close();
  }
  const { disk, head } = await stored(1);
  const copy = (await disk.readFile(PATH)) ?? Buffer.alloc(0);
  await head.store(note(2));
  await disk.remove(PATH);
  const file = await disk.open(PATH, 'create');
  await file.write(copy, 0);
  await t.rejects(head.store(note(3)), isFatal, 'put an older copy in its place');
  const empty = await stored();
  await (await opened(empty.disk)).store(note(1));
  await t.rejects(empty.head.store(note(1)), isFatal, 'was there first');
});

void t.test('a write that failed half-way is no other writer, and is made good', async (t) => {
  let broken = false;
  const disk = new Disk({
    fault: ({ kind, path }) => {
      if (!broken || kind !== 'write' || path !== PATH) return;
      // Some of it arrived.
      const whole = Buffer.from(formatSlot({ number: 4, note: note(4) }));
      disk.poke(PATH, (bytes) =>
        Buffer.concat([bytes.subarray(0, SLOT_BYTES), whole.subarray(0, 20), last.subarray(SLOT_BYTES + 20)]),
      );
      throw new Error('EIO');
    },
  });
  await disk.makeDir('/log');
  const head = await opened(disk);
  for (const n of [1, 2, 3]) await head.store(note(n));
  const last = (await disk.readFile(PATH)) ?? Buffer.alloc(0);
  broken = true;
  for (let round = 0; round < 3; round += 1) {
    await t.rejects(head.store(note(4)), /EIO/);
    t.equal(readHead((await disk.readFile(PATH)) ?? Buffer.alloc(0)), note(3));
  }
  broken = false;
  await head.store(note(5));
  t.equal(readHead((await disk.readFile(PATH)) ?? Buffer.alloc(0)), note(5));
  await head.close();
  t.throws(() => formatSlot({ number: 1, note: 'x'.repeat(SLOT_BYTES) }), RangeError);
});
