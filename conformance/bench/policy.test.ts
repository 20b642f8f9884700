import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { PLAIN_NODE } from '../harness/plain-node.ts';

void t.test('what a policy costs is measured', { timeout: 600_000 }, async (t) => {
  const program = fileURLToPath(new URL('policy.ts', import.meta.url));
  const [env, ...args] = PLAIN_NODE;
  const { stdout } = await promisify(execFile)(env, [...args, program, '200', '1', '2']);
  t.match(stdout, /^\| what \| cost \| \|\n/);
  t.match(
    stdout,
    /\n\| a decision, default policy \| p50 [\d.]+ µs, p99 [\d.]+ µs; [\d.]+ µs of CPU \| loaded in \d+ ms \|\n/,
  );
  t.match(stdout, /\n\| the same with the five scenarios \| p50 [\d.]+ µs/);
  t.match(stdout, /\n\| the same with 2 MB of data \| p50 [\d.]+ µs/);
  t.match(stdout, /\n\| one shadow under load, [^|]+\| [\d.]+ times \([\d.]+ to [\d.]+\) \| 2 rounds \|\n/);
  t.match(stdout, /\n\| activation under load, [^|]+\| [\d.]+ ms \(most [\d.]+ ms\) \| longest exchange/);
});
