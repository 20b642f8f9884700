import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { OPA_VERSION } from '../gateway/commands/policy/opa.ts';
import { OpaFailed, POLICIES, findOpa, pinnedVersion } from './opa.ts';

/** A copy of the policies elsewhere, changed; then `build.mjs --check` there. */
function checkAfter(change: (folder: string) => void, env: NodeJS.ProcessEnv = process.env) {
  const scratch = mkdtempSync(join(tmpdir(), 'troad-build-'));
  try {
    const folder = join(scratch, 'policies');
    cpSync(POLICIES, folder, { recursive: true });
    // What compiles them stands beside.
    symlinkSync(join(POLICIES, '..', 'gateway'), join(scratch, 'gateway'));
    change(folder);
    const args = [join(folder, 'build.mjs'), '--check'];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', env });
    return { status, stderr };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

void t.test('the program builds with the version that is pinned', async (t) => {
  t.equal(OPA_VERSION, pinnedVersion());
});

void t.test('without a compiler it says what to install', async (t) => {
  const { status, stderr } = checkAfter(() => undefined, { PATH: '/nonexistent' });
  t.equal(status, 2);
  t.match(stderr, `opa ${pinnedVersion()} was not found`);
  t.match(stderr, 'go tool opa');
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

const rego = (folder: string) => join(folder, 'troad', 'admission.rego');
function replace(folder: string, path: string, what: string, by: string): void {
  const file = join(folder, path);
  writeFileSync(file, readFileSync(file, 'utf8').replace(what, by));
}

type Row = readonly [what: string, change: (folder: string) => void, message: RegExp];
/** What one step of the build finds is found by one build. */
// prettier-ignore
const steps: readonly (readonly Row[])[] = [
  [
    ['a style of its own', (at) => appendFileSync(rego(at), '\n# METADATA\n# title: Never\nunheard   if input.now_ms == 7\n'), /fmt --fail/],
  ],
  [
    ['a field the schema does not have', (at) => appendFileSync(rego(at), '\n# METADATA\n# title: Never\nunheard if input.moon == 7\n'), /undefined ref: input\.moon/],
  ],
  [
    ['a clock', (at) => appendFileSync(rego(at), '\n# METADATA\n# title: Never\nunheard := time.now_ns()\n'), /undefined function time\.now_ns/],
  ],
  [
    ['a comment that changes no decision', (at) => appendFileSync(rego(at), '\n# x\n'), /bundle\/manifest\.json differs/],
    ['a module from elsewhere', (at) => appendFileSync(join(at, 'bundle', 'policy.wasm'), '\0'), /bundle\/policy\.wasm differs/],
    ['another file in the bundle', (at) => writeFileSync(join(at, 'bundle', 'x.rego'), ''), /bundle\/x\.rego does not belong/],
    ['a module of the examples from elsewhere', (at) => appendFileSync(join(at, 'examples/bundle/policy.wasm'), '\0'), /examples\/bundle\/policy\.wasm differs/],
    ['more capabilities', (at) => appendFileSync(join(at, 'capabilities.json'), ' '), /capabilities\.json differs/],
  ],
  [
    ['a rule that does not say what it is about', (at) => appendFileSync(rego(at), '\nunsaid if input.now_ms == 7\n'), /admission\.rego:\d+: rule unsaid has no title/],
    ['a reason without texts', (at) => appendFileSync(rego(at), '\n# METADATA\n# title: Never\nunmet contains "admission.moon" if input.now_ms == 7\n'), /admission\.rego:\d+: no text for admission\.moon/],
    ['a text without a rule', (at) => replace(at, 'data/reasons.json', '"score.too_low"', '"score.moon"'), /no rule gives score\.moon/],
    ['a weight that is no integer', (at) => replace(at, 'data/score.json', '"hour": 1', '"hour": "1"'), /data\/score\.json: .*weights\.hour/],
    ['a factor the policy does not know', (at) => replace(at, 'data/score.json', '"hour"', '"moon": 1, "hour"'), /Additional property moon/],
    ['a duty no gateway knows', (at) => replace(at, 'data/classes.json', '"recheck_seconds": 300', '"mask_fields": true'), /data\/classes\.json: .*mask_fields/],
  ],
  [
    ['a failing test', (at) => appendFileSync(join(at, 'troad', 'path_test.rego'), '\ntest_x if path.covers("/a", "/b")\n'), /test_x: FAIL/],
  ],
  [
    ['an untested rule', (at) => appendFileSync(rego(at), '\n# METADATA\n# title: Never\nunheard if input.now_ms == 7\n'), /coverage is not 100 %[^]*admission\.rego:\d+/],
  ],
  [
    ['an untested rule in an example', (at) => appendFileSync(join(at, 'examples/weather/agency/weather.rego'), '\n# METADATA\n# title: Never\nunheard if input.now_ms == 7\n'), /coverage is not 100 %[^]*weather\.rego:\d+/],
  ],
];

for (const rows of steps) {
  const first = rows[0]?.[0] ?? '';
  const rest = rows.length > 1 ? ' and more of the kind' : '';
  void t.test(`--check refuses ${first}${rest}`, withOpa, async (t) => {
    const { status, stderr } = checkAfter((folder) => {
      for (const [, change] of rows) change(folder);
    });
    t.equal(status, 1);
    for (const [what, , message] of rows) t.match(stderr, message, what);
  });
}

void t.test('--check passes in any folder: the build is reproducible', withOpa, async (t) => {
  t.strictSame(
    checkAfter(() => undefined),
    { status: 0, stderr: '' },
  );
});
