import t from 'tap';
import { fewLines } from './few-lines.ts';

void t.test('a stranger fills no log', async (t) => {
  const lines: string[] = [];
  let now = 1000;
  const tell = fewLines((line) => void lines.push(line), { now: () => 0, monotonic: () => now });
  for (let i = 0; i < 10_000; i += 1) tell(`forged ${i}`);
  t.equal(lines.length, 20);
  now += 60_000;
  tell('another');
  t.same(lines.slice(20), ['9980 more were not shown', 'another']);
  now += 120_000;
  tell('later');
  t.same(lines.slice(22), ['later'], 'nothing was left out');
});
