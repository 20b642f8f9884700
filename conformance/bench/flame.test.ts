import t from 'tap';
import { fold, formatFlame, type CpuProfile } from './flame.ts';

const call = (functionName: string, url = 'file:///x/gateway/a/b.ts') => ({
  functionName,
  url,
  lineNumber: 6,
});
const PROFILE: CpuProfile = {
  nodes: [
    { id: 1, callFrame: call('(root)', ''), children: [2, 3, 4, 6] },
    { id: 2, callFrame: call('outer'), children: [5] },
    { id: 3, callFrame: call('(idle)', '') },
    { id: 4, callFrame: call('outer') },
    { id: 5, callFrame: call('inner<T>', 'node:internal/x') },
    { id: 6, callFrame: call('') },
  ],
  samples: [2, 5, 4, 3, 6],
  timeDeltas: [1000, 2000, 3000, 50_000, 4000],
};

void t.test('one box a function and caller; idle time does not count', async (t) => {
  const root = fold(PROFILE);
  t.equal(root.total, 10_000);
  const boxes = [...root.children.values()].map(({ name, where, own, total }) => ({
    name,
    where,
    own,
    total,
  }));
  t.strictSame(boxes, [
    { name: 'outer', where: 'a/b.ts:7', own: 4000, total: 6000 },
    { name: '(anonymous)', where: 'a/b.ts:7', own: 4000, total: 4000 },
  ]);
});

void t.test('draws shares, and what names say stays text', async (t) => {
  const svg = formatFlame(fold(PROFILE), 'near & far');
  t.match(svg, /^<svg [^>]+>/);
  t.match(svg, 'near &amp; far: 10 ms busy');
  t.match(svg, '<title>outer a/b.ts:7 60.00 %</title>');
  t.match(svg, 'inner&lt;T&gt;');
  t.notMatch(svg, 'inner<T>');
  t.match(formatFlame(fold({ nodes: [], samples: [], timeDeltas: [] }), 'nothing'), /0 ms busy/);
});
