import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import t from 'tap';
import { ConfigError } from '../../core/errors.ts';
import { withOpa } from './command-fixture.ts';
import { Opa, OPA_VERSION, OpaFailed } from './opa.ts';
import { opaIn } from './sources.ts';

/** While the test runs, the PATH is this. */
function setPath(t: { teardown(undo: () => void): void }, path: string): void {
  const before = process.env['PATH'];
  process.env['PATH'] = path;
  t.teardown(() => {
    process.env['PATH'] = before;
  });
}

/** A program `opa` that says it is of a version, and fails at everything else. */
function programOf(dir: string, version: string): string {
  const bin = join(dir, 'bin');
  mkdirSync(bin);
  const file = join(bin, 'opa');
  writeFileSync(
    file,
    `#!/bin/sh\n[ "$1" = version ] && echo "Version: ${version}" && exit 0\necho "a.rego:3: bad" >&2\nexit 1\n`,
  );
  chmodSync(file, 0o755);
  return bin;
}

void t.test('another version on the PATH compiles no bundle, and is good enough for the rest', async (t) => {
  const dir = t.testdir({ 'a.rego': 'package a\n\nx := 1\n' });
  setPath(t, programOf(dir, '9.9.9') + delimiter + '/bin');
  const search = (): Opa => Opa.find(dir, { version: OPA_VERSION });
  t.throws(search, {
    name: 'OpaFailed',
    message: /opa [\d.]+ was not found:\n {2}opa: is version 9\.9\.9\n/,
  });
  t.equal(Opa.find(dir, {}).version, '9.9.9');
});

void t.test('without any it says where it looked and what to install', async (t) => {
  const dir = t.testdir();
  setPath(t, dir);
  try {
    opaIn(dir);
    t.fail('found');
  } catch (thrown) {
    t.ok(thrown instanceof ConfigError);
    t.match(
      String(thrown),
      /opa was not found:\n {2}opa: .*ENOENT\n(?: {2}go tool opa in .*ENOENT\n){2}Put the opa/,
    );
  }
});

void t.test('a folder of sources anywhere has the Go tool of the program', withOpa, async (t) => {
  const dir = t.testdir({ 'a.rego': 'package a\n\nx := input.y\n' });
  const opa = Opa.find(dir, { version: OPA_VERSION });
  t.equal(opa.version, OPA_VERSION);
  const wasm = opa.compile('a/x', ['a.rego']);
  t.same([...wasm.subarray(0, 4)], [...Buffer.from('\0asm')], 'paths are those of the folder');
});

void t.test('what the compiler says names the rule', async (t) => {
  const dir = t.testdir({ 'a.rego': 'package a\n\nx := 1\n' });
  setPath(t, programOf(dir, '1.0.0') + delimiter + '/bin');
  t.throws(() => opaIn(dir)(['check', '.']), { name: 'ConfigError', message: /a\.rego:3 rule x: bad/ });
  t.throws(() => opaIn(dir)(['test', '.']), { name: 'ConfigError' }, 'tests without a report are no report');
  t.throws(() => Opa.find(dir, {}).run(['check']), OpaFailed);
});
