import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { storeMissing } from '../builders/store.ts';

const run = promisify(execFile);

void t.test('the store of the replicas is measured', { skip: storeMissing }, async (t) => {
  const program = fileURLToPath(new URL('replicas.ts', import.meta.url));
  const { stdout } = await run(process.execPath, [program, '1']);
  const [local, ...lines] = stdout.trimEnd().split('\n');
  t.match(local, /^table of the process +[\d.]+ µs of CPU$/);
  t.equal(lines.length, 4);
  for (const line of lines)
    t.match(
      line,
      /^store, +\d+ exchanges at once +[\d.]+ µs of CPU, [\d.]+ µs of the store's, waits [\d.]+ µs$/,
    );
});
