import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import t from 'tap';
import { PortBlock } from './ports.ts';

void t.test('EADDRINUSE at the start of a gateway: a port that was chosen is nobody else’s', async (t) => {
  const blocks = await Promise.all(Array.from({ length: 8 }, () => PortBlock.claim()));
  const ports = blocks.flatMap((block) => Array.from({ length: 31 }, () => block.take()));
  t.equal(new Set(ports).size, 8 * 31, 'no two blocks share a port');

  const [low = 0, high = 0] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
    .split(/\s+/)
    .map(Number);
  if (low > 12_000) {
    t.same(
      ports.filter((port) => port >= low && port <= high),
      [],
      'and none is one that the system gives to connections that go out',
    );
  }
  const [first] = blocks;
  t.throws(() => first?.take(), /more than 31 ports/);
  for (const block of blocks) await block.release();
});

void t.test('the block of an earlier start comes again, unless somebody took it', async (t) => {
  const earlier = await PortBlock.claim();
  const { first } = earlier;
  const other = await PortBlock.claim(first);
  t.not(other.first, first, 'its owner still runs');
  await earlier.release();
  const again = await PortBlock.claim(first);
  t.equal(again.first, first);
  await again.release();

  const squatter = createServer().listen(first + 3, '127.0.0.1');
  await once(squatter, 'listening');
  const elsewhere = await PortBlock.claim(first);
  t.not(elsewhere.first, first, 'another program sits on one of its ports');
  await elsewhere.release();
  await other.release();
  squatter.close();
});
