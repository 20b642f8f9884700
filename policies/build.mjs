// Checks the policy sources and compiles them into policies/bundle, and with the examples into policies/examples/bundle.
//   node policies/build.mjs            writes capabilities.json and both
//   node policies/build.mjs --check    rebuilds, and fails when anything committed differs
// Exit status: 0 good, 1 a check failed or something differs, 2 no opa of the pinned version.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkSources, compileBundle } from '../gateway/commands/policy/compile.ts';
import { withSources } from '../gateway/commands/policy/staged.ts';
import { lint } from './lint.ts';
import { OpaFailed, POLICIES, findOpa } from './opa.ts';

const at = (...parts) => join(POLICIES, ...parts);
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

const BUNDLES = ['bundle', 'examples/bundle'];

const filesIn = (folder, { data, manifest, wasm }) => [
  [`${folder}/data.json`, data],
  [`${folder}/manifest.json`, manifest],
  [`${folder}/policy.wasm`, wasm],
];

/** Files to commit, by path. */
async function build(opa) {
  const { capabilities, ...bundle } = compileBundle(opa, POLICIES);
  const examples = await withExamples(({ dir }) => compileBundle(opa.in(dir), dir));
  return new Map([
    ['capabilities.json', Buffer.from(capabilities)],
    ...filesIn('bundle', bundle),
    ...filesIn('examples/bundle', examples),
  ]);
}

const withExamples = (use) => withSources(at('examples'), use, POLICIES);

function differences(files) {
  const differing = [...files].filter(([path, bytes]) => {
    try {
      return !readFileSync(at(path)).equals(bytes);
    } catch {
      return true; // absent
    }
  });
  const present = BUNDLES.flatMap((folder) =>
    existsSync(at(folder)) ? readdirSync(at(folder)).map((name) => `${folder}/${name}`) : [],
  );
  const extra = present.filter((path) => !files.has(path));
  return [
    ...differing.map(([path]) => `  ${path} differs`),
    ...extra.map((path) => `  ${path} does not belong`),
  ];
}

async function main(args) {
  const opa = findOpa();
  const findings = lint(opa);
  if (findings.length > 0) throw new OpaFailed(findings.join('\n'));
  const files = await build(opa);
  checkSources(opa, POLICIES);
  await withExamples(({ dir, own }) => checkSources(opa.in(dir), dir, own));
  if (args.includes('--check')) {
    const found = differences(files);
    if (found.length > 0) {
      throw new OpaFailed(
        `not what the sources build; run \`node policies/build.mjs\`:\n${found.join('\n')}`,
      );
    }
    return;
  }
  for (const folder of BUNDLES) mkdirSync(at(folder), { recursive: true });
  for (const [path, bytes] of files) writeFileSync(at(path), bytes);
  for (const [path, bytes] of files) process.stdout.write(`${sha256(bytes)}  ${path}\n`);
}

try {
  await main(process.argv.slice(2));
} catch (thrown) {
  if (!(thrown instanceof OpaFailed)) throw thrown;
  process.stderr.write(`policies: ${thrown.message}\n`);
  process.exitCode = thrown.message.includes('was not found') ? 2 : 1;
}
