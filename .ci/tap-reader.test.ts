import t from 'tap';
import { TapReader, type Point } from './tap-reader.ts';

function read(text: string): { points: Point[]; reader: TapReader } {
  const points: Point[] = [];
  const reader = new TapReader((point) => points.push(point));
  for (const line of text.split('\n')) reader.line(line);
  reader.end();
  return { points, reader };
}

const sample = `TAP version 14
# Subtest: a.test.ts
    # Subtest: outer
        ok 1 - fine
        # Subtest: inner
            not ok 1 - one is two \\# really
              ---
              at:
                lineNumber: 2
              source: |
                ok 9 - not a point
              diff: |
                -2
                +1
              ...
            ok 2 - x # SKIP no reader here
            1..2
        not ok 2 - inner # time=19.9ms
        1..2
    not ok 1 - outer # time=26.4ms
    ok 2 - whole # SKIP needs a TPM
    ok 3 - bare # SKIP
    not ok 4 - later # todo some day
    ok 5 - braces # time=3ms {
        ok 1 - inside
        1..1
    }
    # Subtest: asserts by not throwing
        1..0
    ok 6 - asserts by not throwing # time=1ms
    1..6
not ok 1 - a.test.ts # time=38.1ms
# Subtest: killed.test.ts
    ok 1 - a
    # test count(1) != plan(null)
not ok 2 - killed.test.ts # time=470ms
  ---
  signal: SIGKILL
  ...

# Subtest: skipped.test.ts
    1..0 # needs nginx
ok 3 - skipped.test.ts # SKIP needs nginx
1..3
# { total: 13, pass: 5, fail: 3, todo: 1, skip: 4 }
`;

void t.test('counts assertions, and what broke off without one', async (t) => {
  const { reader } = read(sample);
  t.strictSame(reader.tally, { passed: 4, failed: 2, skipped: 5 });
  t.strictSame(reader.closing, { passed: 5, failed: 3, skipped: 5 }, "tap's own line, todo with the skipped");
});

void t.test('names a failure by its path, with the useful part of its diagnostics', async (t) => {
  const failed = read(sample).points.filter(
    (point) => !point.ok && !point.directive && point.failedBelow === 0,
  );
  t.match(failed, [
    { path: ['a.test.ts', 'outer', 'inner', 'one is two # really'], isGroup: false },
    { path: ['killed.test.ts'], isGroup: true, elapsedMs: 470 },
  ]);
  t.strictSame(
    failed[0]?.diagnostics.map((line) => line.trim()),
    ['at:', 'lineNumber: 2', 'diff: |', '-2', '+1'],
  );
  t.strictSame(failed[1]?.diagnostics, ['signal: SIGKILL']);
});

void t.test('lists every skip with its reason', async (t) => {
  const skips = read(sample).points.filter((point) => point.directive !== undefined);
  t.strictSame(
    skips.map(({ path, directive }) => [path.at(-1), directive?.kind, directive?.reason]),
    [
      ['x', 'skip', 'no reader here'],
      ['whole', 'skip', 'needs a TPM'],
      ['bare', 'skip', ''],
      ['later', 'todo', 'some day'],
      ['skipped.test.ts', 'skip', 'needs nginx'],
    ],
  );
});

void t.test('text of a test on standard output is no point', async (t) => {
  const { reader } = read('hello\n  ok, let us go\n   not ok\n{ a: 1 }\n}\nok 1 - real\n1..1');
  t.strictSame(reader.tally, { passed: 1, failed: 0, skipped: 0 });
  t.equal(reader.closing, undefined);
});

void t.test('a lone failing assertion at the top counts', async (t) => {
  t.strictSame(read('not ok\nok').reader.tally, { passed: 1, failed: 1, skipped: 0 });
});
