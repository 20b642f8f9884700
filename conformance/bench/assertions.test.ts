import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';

const run = promisify(execFile);

void t.test('a bound assertion that is presented again is not verified again', async (t) => {
  const program = fileURLToPath(new URL('assertions.ts', import.meta.url));
  const { stdout } = await run(process.execPath, [program, '1']);
  const lines = stdout.trimEnd().split('\n');
  t.equal(lines.length, 4);
  for (const line of lines) {
    const [, ratio] = /^bound to .* \d+ µs verified, \d+ µs from the cache, × (\d\.\d\d)$/.exec(line) ?? [];
    t.ok(Number(ratio) < 0.7, line);
  }
});
