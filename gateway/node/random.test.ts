import t from 'tap';
import { pooledRandom } from './random.ts';

void t.test('gives nothing out twice, and draws in bulk', async (t) => {
  const draws: number[] = [];
  let next = 0;
  const random = pooledRandom((bytes) => {
    draws.push(bytes);
    const drawn = Buffer.alloc(bytes);
    for (let at = 0; at + 4 <= bytes; at += 4) drawn.writeUInt32BE(next++, at);
    return drawn;
  });
  const seen = new Set<string>();
  for (let i = 0; i < 1000; i += 1) seen.add(random(16).toString('hex'));
  t.equal(seen.size, 1000);
  t.strictSame(draws, [4096, 4096, 4096, 4096]);
  t.equal(random(100).length, 100);
  t.equal(draws.at(-1), 100, 'larger ones are drawn by themselves');
});

void t.test('the system’s own bytes', async (t) => {
  const random = pooledRandom();
  t.not(random(16).toString('hex'), random(16).toString('hex'));
});
