// Checks the policy sources and compiles them into policies/bundle.
//   node policies/build.mjs            writes capabilities.json and bundle/
//   node policies/build.mjs --check    rebuilds, and fails when anything committed differs
// Exit status: 0 good, 1 a check failed or something differs, 2 no opa of the pinned version.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkSources, compileBundle } from '../gateway/commands/policy/compile.ts';
import { lint } from './lint.ts';
import { OpaFailed, POLICIES, findOpa } from './opa.ts';

const at = (...parts) => join(POLICIES, ...parts);
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** Files to commit, by path. */
function build(opa) {
  const { capabilities, ...bundle } = compileBundle(opa, POLICIES);
  return new Map([
    ['capabilities.json', Buffer.from(capabilities)],
    ['bundle/data.json', bundle.data],
    ['bundle/manifest.json', bundle.manifest],
    ['bundle/policy.wasm', bundle.wasm],
  ]);
}

function differences(files) {
  const differing = [...files].filter(([path, bytes]) => {
    try {
      return !readFileSync(at(path)).equals(bytes);
    } catch {
      return true; // absent
    }
  });
  const extra = readdirSync(at('bundle')).filter((name) => !files.has(`bundle/${name}`));
  return [
    ...differing.map(([path]) => `  ${path} differs`),
    ...extra.map((name) => `  bundle/${name} does not belong`),
  ];
}

function main(args) {
  const opa = findOpa();
  const files = build(opa);
  const findings = lint(opa);
  if (findings.length > 0) throw new OpaFailed(findings.join('\n'));
  checkSources(opa, POLICIES);
  if (args.includes('--check')) {
    const found = differences(files);
    if (found.length > 0) {
      throw new OpaFailed(
        `not what the sources build; run \`node policies/build.mjs\`:\n${found.join('\n')}`,
      );
    }
    return;
  }
  mkdirSync(at('bundle'), { recursive: true });
  for (const [path, bytes] of files) writeFileSync(at(path), bytes);
  for (const [path, bytes] of files) process.stdout.write(`${sha256(bytes)}  ${path}\n`);
}

try {
  main(process.argv.slice(2));
} catch (thrown) {
  if (!(thrown instanceof OpaFailed)) throw thrown;
  process.stderr.write(`policies: ${thrown.message}\n`);
  process.exitCode = thrown.message.includes('was not found') ? 2 : 1;
}
