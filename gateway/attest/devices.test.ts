import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type DeviceRecord, Devices } from './devices.ts';

const dir = mkdtempSync(join(tmpdir(), 'troad-devices-'));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));

const record = (id: string, changes: Partial<DeviceRecord> = {}): DeviceRecord => ({
  id,
  name: `name-${id}`,
  state: 'active',
  class: 'endpoint',
  gateway: undefined,
  epoch: 1,
  software: false,
  manufacturer: 'id:1',
  ak: `ak-${id}`,
  akQualifiedName: 'q',
  bindingKey: 'b',
  mayReEnrol: false,
  enrolledAt: 1,
  boot: undefined,
  unsafeSince: undefined,
  ...changes,
});

void t.test('what was put is there after a restart, the last of each', async (t) => {
  const path = join(dir, 'a', 'journal');
  const devices = await Devices.open(path);
  await devices.put(record('1'));
  await devices.put(record('2'));
  await devices.put(record('1', { name: 'renamed', epoch: 2 }));
  await devices.put(
    record('2', { boot: { clock: '5', resetCount: 1, restartCount: 0, firmware: 'f' } }),
    false,
  );
  await devices.close();
  t.equal(statSync(path).mode & 0o777, 0o600);
  const again = await Devices.open(path);
  t.match(again.require('renamed'), { id: '1', epoch: 2 });
  t.equal(again.byName('name-1'), undefined);
  t.equal(again.byAk('ak-1'), '1');
  t.equal(again.get('2')?.boot?.clock, '5');
  t.throws(() => again.require('3'), { name: 'Refused' });
  await again.close();
});

void t.test('a line that a power failure cut short is dropped, at every length', async (t) => {
  const path = join(dir, 'b');
  const devices = await Devices.open(path);
  await devices.put(record('1'));
  const whole = statSync(path).size;
  await devices.put(record('2'));
  await devices.close();
  const bytes = readFileSync(path);
  for (let length = bytes.length - 1; length > whole; length -= 7) {
    writeFileSync(path, bytes.subarray(0, length));
    const again = await Devices.open(path);
    t.same(
      again.all().map(({ id }) => id),
      ['1'],
    );
    await again.put(record('3'));
    await again.close();
    const third = await Devices.open(path);
    t.same(
      third.all().map(({ id }) => id),
      ['1', '3'],
      'and the next line does not hang on to it',
    );
    await third.close();
  }
  truncateSync(path, 0);
  const empty = await Devices.open(path);
  t.same(empty.all(), []);
  await empty.close();
});

void t.test('a whole line that is none is no power failure', async (t) => {
  const path = join(dir, 'c');
  const devices = await Devices.open(path);
  await devices.put(record('1'));
  await devices.close();
  appendFileSync(path, 'x\n');
  await t.rejects(Devices.open(path), { name: 'Fatal', message: /:2: not a line of ours/ });
});

void t.test('a long journal is written anew', async (t) => {
  const path = join(dir, 'd');
  const lines = Array.from({ length: 1000 }, (_, i) => `${JSON.stringify(record('1', { epoch: i }))}\n`);
  writeFileSync(path, lines.join(''));
  const long = statSync(path).size;
  const again = await Devices.open(path);
  t.ok(statSync(path).size < long / 500);
  t.equal(again.require('1').epoch, 999);
  await again.close();
});

void t.test('a journal does not grow with the renewals of a service that runs', async (t) => {
  const path = join(dir, 'f');
  const devices = await Devices.open(path);
  await devices.put(record('2', { name: 'other' }));
  const clock = (i: number) => ({ clock: String(i), resetCount: 1, restartCount: 0, firmware: 'f' });
  for (let i = 0; i < 10_000; i += 1) await devices.put(record('1', { boot: clock(i) }), false);
  t.ok(statSync(path).size < 400_000, `${statSync(path).size} bytes`);
  await devices.put(record('1', { epoch: 2 }));
  await devices.close();
  const again = await Devices.open(path);
  t.match(again.require('1'), { epoch: 2 });
  t.match(again.require('other'), { id: '2' }, 'and what was put once is still there');
  await again.close();
});

void t.test(
  'whose an attestation key was is known over restarts and in a journal written anew',
  async (t) => {
    const path = join(dir, 'g');
    const devices = await Devices.open(path);
    await devices.put(record('1', { ak: 'former' }));
    await devices.put(record('1', { ak: 'present', epoch: 2 }));
    for (let i = 0; i < 2000; i += 1) await devices.put(record('2', { epoch: i }), false);
    await devices.close();
    for (let i = 0; i < 2; i += 1) {
      const again = await Devices.open(path);
      t.equal(again.byAk('former'), '1');
      t.match(again.require('1'), { ak: 'present', epoch: 2 });
      await again.close();
    }
  },
);

void t.test('a disk that fails ends it, and is told', async (t) => {
  const devices = await Devices.open(join(dir, 'e'));
  await devices.close();
  await t.rejects(devices.put(record('1')), { name: 'Fatal' });
  await t.rejects(devices.put(record('2')), { name: 'Fatal' });
  t.match(await devices.failure, { name: 'Fatal' });
});
