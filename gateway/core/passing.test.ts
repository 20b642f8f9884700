import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { PassingMap, Roster, type Place } from './passing.ts';

await t.test('a roster lists who is here, the longest first, and lets go whoever leaves', async (t) => {
  const roster = new Roster<{ name: string }>();
  t.same([roster.size, roster.first, roster.list()], [0, undefined, []]);
  const places = ['a', 'b', 'c', 'd'].map((name) => roster.add({ name }));
  const names = (): string =>
    roster
      .list()
      .map(({ name }) => name)
      .join('');
  t.equal(names(), 'abcd');
  places[2]?.leave();
  t.same([names(), roster.size, roster.first], ['abd', 3, { name: 'a' }]);
  places[0]?.leave();
  t.same([names(), roster.size, roster.first], ['bd', 2, { name: 'b' }]);
  places[0]?.leave();
  places[2]?.leave();
  t.same([names(), roster.size], ['bd', 2], 'leaving twice does no harm');
  roster.add({ name: 'e' });
  for (const place of [...places, ...places]) place.leave();
  t.same([names(), roster.size], ['e', 1]);
});

await t.test('the list is one of its own: members may come and leave while it is gone through', async (t) => {
  const roster = new Roster<{ name: string; place?: Place }>();
  for (const name of 'abc') {
    const member: { name: string; place?: Place } = { name };
    member.place = roster.add(member);
  }
  const seen: string[] = [];
  for (const { name } of roster.list()) {
    seen.push(name);
    for (const member of roster.list()) member.place?.leave();
    roster.add({ name: 'later' });
  }
  t.same(seen, ['a', 'b', 'c']);
});

await t.test('a passing map is a map', async (t) => {
  const map = new PassingMap<number, { value: number }>();
  const twin = new Map<number, { value: number }>();
  let seed = 7;
  const next = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
  for (let step = 0; step < 20_000; step += 1) {
    const key = next(64);
    if (next(2) === 0) {
      const value = { value: step };
      map.set(key, value);
      twin.set(key, value);
    } else if (map.delete(key) !== twin.delete(key)) t.fail(`step ${step}: delete`);
    if (map.get(key) !== twin.get(key) || map.has(key) !== twin.has(key)) t.fail(`step ${step}: get`);
    if (map.size !== twin.size || map.oldest !== twin.keys().next().value) t.fail(`step ${step}: order`);
  }
  t.same(map.values(), [...twin.values()]);
});

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as (options?: { type: 'minor' }) => void; // V8's, see `node --v8-options`

/** Bytes that collections of young objects have moved to the old ones, while 80 MB went through. */
function promoted(step: (n: number) => void): number {
  const old = (): number =>
    getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? 0;
  for (let n = 0; n < 1_000; n += 1) step(n);
  gc(); // what is here is old now
  const before = old();
  for (let n = 1_000; n < 21_000; n += 1) {
    step(n);
    if (n % 500 === 0) gc({ type: 'minor' });
  }
  return old() - before;
}

/** 4 KB. */
const pattern = Array.from({ length: 500 }, (_, i) => i);
const member = (): object => pattern.slice();
const LIVE = 50;

await t.test('whoever left is young garbage, although the register is old', async (t) => {
  const roster = new Roster();
  const places: Place[] = [];
  const passed = promoted(() => {
    places.push(roster.add(member()));
    if (places.length > LIVE) places.shift()?.leave();
  });
  const map = new PassingMap<number, object>();
  const mapped = promoted((n) => {
    map.set(n, member());
    map.delete(n - LIVE);
  });
  for (const bytes of [passed, mapped]) t.ok(bytes < 8e6, `${bytes} bytes`);

  // If this ever fails, the engine has mended it, and a Map will do.
  const ordinary = new Map<number, object>();
  const kept = promoted((n) => {
    ordinary.set(n, member());
    ordinary.delete(n - LIVE);
  });
  t.ok(kept > 30e6, `${kept} bytes`);
});
