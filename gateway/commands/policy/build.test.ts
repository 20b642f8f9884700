import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { PLAIN_NODE } from '../../../conformance/harness/plain-node.ts';
import { OpaFailed, POLICIES, findOpa } from '../../../policies/opa.ts';
import { OPA_VERSION } from './opa.ts';

const CLI = fileURLToPath(new URL('../../cli.ts', import.meta.url));
const [program, ...first] = PLAIN_NODE;
const build = (out: string, ...more: readonly string[]) =>
  spawnSync(program, [...first, CLI, 'policy', 'build', POLICIES, '--out', out, ...more], {
    encoding: 'utf8',
  });

function hasOpa(): boolean {
  try {
    return findOpa(60_000).version !== '';
  } catch (thrown) {
    if (!(thrown instanceof OpaFailed)) throw thrown;
    return false;
  }
}
const withOpa = hasOpa() ? {} : { skip: 'opa of the pinned version is not installed' };

void t.test('builds the very bytes of the bundle that is shipped', withOpa, async (t) => {
  const out = join(t.testdir(), 'bundle');
  const { status, stdout, stderr } = build(out, '--no-check');
  t.equal(status, 0, stderr);
  t.match(stdout, /^\S+: [\w-]{43}, revision [\w-]{12}\n$/);
  for (const file of readdirSync(join(POLICIES, 'bundle')))
    t.ok(readFileSync(join(out, file)).equals(readFileSync(join(POLICIES, 'bundle', file))), file);
  t.match(build(out), { status: 2, stderr: /is there already/ });
  const told = build(join(t.testdir(), 'again'), '--no-check', '--json');
  const [digest = '', revision = ''] = stdout.split(/: |, revision |\n/).slice(1);
  t.match(JSON.parse(told.stdout), { result: 'good', folder: /again$/, digest, revision, opa: OPA_VERSION });
});

void t.test('says what is wrong in the words of the compiler', withOpa, async (t) => {
  const out = join(t.testdir(), 'bundle');
  const { status, stderr } = build(out, '--no-check', '--entrypoint', 'troad/nothing');
  t.equal(status, 1);
  const complaint = /undefined entrypoint|troad\/nothing|troad\.nothing/;
  t.match(stderr, complaint);
  const told = build(out, '--no-check', '--entrypoint', 'troad/nothing', '--json');
  t.match(JSON.parse(told.stdout), { result: 'bad', problems: [complaint] });
  t.match(told, { status: 1, stderr: '' });
  t.notOk(existsSync(out));
});

void t.test('without a compiler it says what to install', async (t) => {
  const args = [CLI, 'policy', 'build', POLICIES, '--out', join(t.testdir(), 'bundle')];
  const { status, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: { PATH: '/nonexistent' },
  });
  t.match([status, stderr], [1, /opa [\d.]+ was not found/]);
});
