// Checks the policy sources and compiles them into policies/bundle.
//   node policies/build.mjs            writes capabilities.json and bundle/
//   node policies/build.mjs --check    rebuilds, and fails when anything committed differs
// Exit status: 0 good, 1 a check failed or something differs, 2 no opa of the pinned version.
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Opa, OpaFailed, POLICIES, SOURCES } from './opa.ts';

const ENTRYPOINT = 'troad/exchange/decision';

/**
 * Every builtin a policy may use: pure, and compiled into the module, so that the gateway provides none. No clock,
 * network, randomness or host facts; no regular expressions, transitive closures or ranges, whose cost is not bounded by
 * the size of the input.
 */
// prettier-ignore
const BUILTINS = [
  'abs', 'and', 'array.concat', 'array.slice', 'assign', 'concat', 'contains', 'count', 'endswith', 'eq', 'equal',
  'gt', 'gte', 'indexof', 'internal.member_2', 'internal.member_3', 'is_array', 'is_boolean', 'is_null', 'is_number',
  'is_object', 'is_string', 'lower', 'lt', 'lte', 'max', 'min', 'minus', 'mul', 'neq', 'net.cidr_contains',
  'object.get', 'object.keys', 'or', 'plus', 'rem', 'sort', 'split', 'startswith', 'sum', 'trim_prefix', 'trim_suffix',
  'type_name', 'upper',
];

const at = (...parts) => join(POLICIES, ...parts);
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const json = (value) => `${JSON.stringify(value, null, 2)}\n`;

/** The capabilities file: opa's own entries, of the permitted builtins only. */
function capabilities(opa) {
  const { builtins, features } = JSON.parse(opa.run(['capabilities', '--current']));
  const byName = new Map(builtins.map((builtin) => [builtin.name, builtin]));
  const permitted = BUILTINS.map((name) => {
    const builtin = byName.get(name);
    if (builtin === undefined) throw new OpaFailed(`opa ${opa.version} has no builtin ${name}`);
    if (builtin.nondeterministic) throw new OpaFailed(`${name} is not deterministic`);
    const { decl, infix } = builtin;
    return { name, ...(infix === undefined ? {} : { infix }), decl };
  });
  return json({
    builtins: permitted,
    features,
    allow_net: [],
    wasm_abi_versions: [{ version: 1, minor_version: 3 }],
  });
}

const readJson = (...parts) => JSON.parse(readFileSync(at(...parts), 'utf8'));

const inside = (folder, ending) =>
  readdirSync(at(folder))
    .filter((name) => name.endsWith(ending))
    .toSorted() // the file system promises no order
    .map((name) => `${folder}/${name}`);

/** Every file the bundle was made from or judged by, in a fixed order. */
function sourceFiles() {
  return [...inside('data', '.json'), ...inside('schemas', '.json'), ...inside('troad', '.rego')];
}

/** Files to commit, by path. */
function build(opa, scratch) {
  const capabilitiesJson = capabilities(opa);
  writeFileSync(join(scratch, 'capabilities.json'), capabilitiesJson);
  const options = ['--ignore', '*_test.rego', '--capabilities', join(scratch, 'capabilities.json')];
  const wasm = opa.compile(ENTRYPOINT, SOURCES, options);
  const names = inside('data', '.json').map((path) => path.slice('data/'.length, -'.json'.length));
  const data = json(Object.fromEntries(names.map((name) => [name, readJson('data', `${name}.json`)])));
  const digests = Object.fromEntries(sourceFiles().map((path) => [path, sha256(readFileSync(at(path)))]));
  const manifest = {
    format: 'troad-policy-bundle-v1',
    entrypoint: ENTRYPOINT,
    opa: opa.version,
    files: { 'data.json': sha256(data), 'policy.wasm': sha256(wasm) },
    sources: { 'capabilities.json': sha256(capabilitiesJson), ...digests },
  };
  return new Map([
    ['capabilities.json', Buffer.from(capabilitiesJson)],
    ['bundle/data.json', Buffer.from(data)],
    ['bundle/manifest.json', Buffer.from(json(manifest))],
    ['bundle/policy.wasm', Buffer.from(wasm)],
  ]);
}

/** Style, types, tests. Each throws with the compiler's own words. */
function check(opa, scratch) {
  opa.run(['fmt', '--fail', '--list', 'troad']);
  const strict = ['check', '--strict', '--schema', 'schemas'];
  opa.run([...strict, 'troad']);
  // Tests may use any builtin; what is compiled may not.
  opa.run([
    ...strict,
    '--capabilities',
    join(scratch, 'capabilities.json'),
    '--ignore',
    '*_test.rego',
    'troad',
  ]);
  opa.run(['test', '--fail-on-empty', ...SOURCES]); // first without coverage: that mode does not print failures
  const report = JSON.parse(opa.run(['test', '--coverage', '--coverage-runs', '', ...SOURCES]));
  const uncovered = Object.entries(report.files).flatMap(([file, { not_covered: ranges = [] }]) =>
    ranges.map(({ start, end }) => `  ${file}:${start.row}-${end.row}`),
  );
  if (report.coverage !== 100 || uncovered.length > 0) {
    throw new OpaFailed(`coverage is ${report.coverage} %, not 100 %:\n${uncovered.join('\n')}`);
  }
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
  const opa = Opa.find();
  const scratch = mkdtempSync(join(tmpdir(), 'troad-policies-'));
  try {
    const files = build(opa, scratch);
    check(opa, scratch);
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
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

try {
  main(process.argv.slice(2));
} catch (thrown) {
  if (!(thrown instanceof OpaFailed)) throw thrown;
  process.stderr.write(`policies: ${thrown.message}\n`);
  process.exitCode = thrown.message.includes('was not found') ? 2 : 1;
}
