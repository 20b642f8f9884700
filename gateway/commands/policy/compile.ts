import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { testsIn } from '../../author/rego.ts';
import { sha256 } from '../../core/bytes.ts';
import { ConfigError } from '../../core/errors.ts';
import type { BundleFiles } from '../../trust/bundle.ts';
import { parseDataFile } from './data-file.ts';
import { OpaFailed, type Opa } from './opa.ts';

// A folder of policy sources: troad/*.rego and agency/*.rego with their tests, data/*.json (each under its own name in the
// policy's data), schemas/*.json. The gateway's own is `policies` of the source tree.

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

const hex = (bytes: Uint8Array | string): string => sha256(bytes).toString('hex');
const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** In a fixed order: the file system promises none. */
const inside = (dir: string, folder: string, ending: string): string[] =>
  readdirSync(join(dir, folder))
    .filter((name) => name.endsWith(ending))
    .toSorted()
    .map((name) => `${folder}/${name}`);

/** The policy, and what an agency adds to it. */
const regoFolders = (dir: string): string[] =>
  ['agency', 'troad'].filter((folder) => existsSync(join(dir, folder)));

/** @throws ConfigError there is nothing to compile */
export function requireRego(dir: string): void {
  if (regoFolders(dir).length === 0)
    throw new ConfigError([
      `${dir}: holds no Rego sources: expected a folder troad or agency in it  沒有政策原始碼`,
    ]);
}

const dataNames = (dir: string): string[] =>
  inside(dir, 'data', '.json').map((path) => path.slice('data/'.length, -'.json'.length));

/** What can be evaluated or compiled: the sources, and the data under the names the policy knows them by. */
export const sourcesIn = (dir: string): readonly string[] => [
  ...regoFolders(dir),
  ...dataNames(dir).map((name) => `${name}:data/${name}.json`),
];

interface Builtin {
  readonly name: string;
  readonly decl: unknown;
  readonly infix?: string;
  readonly nondeterministic?: boolean;
}

/** The capabilities file: opa's own entries, of the permitted builtins only. */
function capabilitiesOf(opa: Opa): string {
  const { builtins, features } = JSON.parse(opa.run(['capabilities', '--current'])) as {
    readonly builtins: readonly Builtin[];
    readonly features: unknown;
  }; // the output of the pinned version
  const byName = new Map(builtins.map((builtin) => [builtin.name, builtin]));
  const permitted = BUILTINS.map((name) => {
    const builtin = byName.get(name);
    if (builtin === undefined) throw new OpaFailed(`opa ${opa.version} has no builtin ${name}`);
    if (builtin.nondeterministic === true) throw new OpaFailed(`${name} is not deterministic`);
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

/** @throws OpaFailed with the compiler's own words: file, line and what is wrong */
export function compileBundle(
  opa: Opa,
  dir: string,
  entrypoint = ENTRYPOINT,
): BundleFiles & { readonly capabilities: string } {
  const capabilities = capabilitiesOf(opa);
  const wasm = withCapabilities(capabilities, (file) =>
    opa.compile(entrypoint, sourcesIn(dir), ['--ignore', '*_test.rego', '--capabilities', file]),
  );
  const read = (path: string): Buffer => readFileSync(join(dir, path));
  const documents = dataNames(dir).map((name) => {
    const path = `data/${name}.json`;
    return [name, parseDataFile(path, read(path)).value] as const;
  });
  const data = json(Object.fromEntries(documents));
  const sources = [
    ...inside(dir, 'data', '.json'),
    ...inside(dir, 'schemas', '.json'),
    ...regoFolders(dir).flatMap((folder) => inside(dir, folder, '.rego')),
  ];
  const manifest = {
    format: 'troad-policy-bundle-v1',
    entrypoint,
    opa: opa.version,
    files: { 'data.json': hex(data), 'policy.wasm': hex(wasm) },
    // Everything the bundle was made from or judged by.
    sources: {
      'capabilities.json': hex(capabilities),
      ...Object.fromEntries(sources.map((path) => [path, hex(read(path))])),
    },
  };
  return { manifest: Buffer.from(json(manifest)), data: Buffer.from(data), wasm, capabilities };
}

/**
 * Style, types, tests and their coverage.
 * @param own Rego files to look at beyond types; all where none are named
 * @throws OpaFailed with the compiler's own words
 */
export function checkSources(opa: Opa, dir: string, own?: readonly string[]): void {
  const folders = regoFolders(dir);
  opa.run(['fmt', '--fail', '--list', ...(own ?? folders)]);
  const strict = ['check', '--strict', '--schema', 'schemas'];
  opa.run([...strict, ...folders]);
  // Tests may use any builtin; what is compiled may not.
  withCapabilities(capabilitiesOf(opa), (file) =>
    opa.run([...strict, '--capabilities', file, '--ignore', '*_test.rego', ...folders]),
  );
  const sources = sourcesIn(dir);
  const only = testsIn(own, (path) => readFileSync(join(dir, path), 'utf8'));
  const test = ['test', '--timeout', '120s', ...only]; // a test; the default of 5 s breaks on a loaded machine
  opa.run([...test, '--fail-on-empty', ...sources]); // first without coverage: that mode does not print failures
  const report = JSON.parse(
    opa.run([...test, '--coverage', '--coverage-runs', '', ...sources]),
  ) as CoverageReport;
  const uncovered = Object.entries(report.files)
    .filter(([file]) => own === undefined || own.includes(file))
    .flatMap(([file, { not_covered: ranges = [] }]) =>
      ranges.map(({ start, end }) => `  ${file}:${start.row}-${end.row}`),
    );
  if (uncovered.length > 0 || (own === undefined && report.coverage !== 100))
    throw new OpaFailed(`coverage is not 100 %:\n${uncovered.join('\n')}`);
}

interface CoverageReport {
  readonly coverage: number;
  readonly files: Readonly<Record<string, { readonly not_covered?: readonly Range[] }>>;
}

interface Range {
  readonly start: { readonly row: number };
  readonly end: { readonly row: number };
}

function withCapabilities<T>(capabilities: string, use: (file: string) => T): T {
  const scratch = mkdtempSync(join(tmpdir(), 'troad-policy-'));
  try {
    const file = join(scratch, 'capabilities.json');
    writeFileSync(file, capabilities);
    return use(file);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
