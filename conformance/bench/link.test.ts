import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';

const run = promisify(execFile);

void t.test('the link is measured protocol by protocol', async (t) => {
  const program = fileURLToPath(new URL('link.ts', import.meta.url));
  for (const load of ['small.c8', 'bulk.up']) {
    const { stdout } = await run(process.execPath, [program, '1', load, 'troad/1,h2']);
    const cost = String.raw`\d+(?:\.\d+)? \(least [\d.]+, [\d.]+ × h2\)`;
    t.match(stdout, new RegExp(`^${load} +troad/1 ${cost}   h2 ${cost}\n$`), load);
  }
});
