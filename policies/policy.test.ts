import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { utf8 } from '../gateway/core/bytes.ts';
import { Bundle } from '../gateway/trust/bundle.ts';
import { canonicalJson, isObject } from '../gateway/trust/canonical.ts';
import { PolicyEngine } from '../gateway/trust/engine.ts';
import { bundleFiles } from '../gateway/trust/module-fixture.ts';
import { OpaFailed, POLICIES, SOURCES, findOpa, type Opa } from './opa.ts';

const read = (path: string): Buffer => readFileSync(join(POLICIES, path));
const readJson = (path: string): unknown => JSON.parse(read(path).toString());
const engine = PolicyEngine.load(
  Bundle.parse({
    manifest: read('bundle/manifest.json'),
    wasm: read('bundle/policy.wasm'),
    data: read('bundle/data.json'),
  }),
);

/** The compiler, where there is one; `npm run check` insists on it. */
function installedOpa(): Opa | undefined {
  try {
    return findOpa(60_000);
  } catch (thrown) {
    if (!(thrown instanceof OpaFailed)) throw thrown;
    return undefined;
  }
}
const opa = installedOpa();
const withOpa = opa === undefined ? { skip: 'opa of the pinned version is not installed' } : {};

type Levels = Readonly<Record<string, number>>;
interface Vector {
  readonly name: string;
  readonly base: string;
  readonly set?: Readonly<Record<string, unknown>>;
  readonly remove?: readonly string[];
  /** Of each factor of the score, 0 to 4. */
  readonly levels?: Levels;
  readonly expect: 'undefined' | { readonly allow: boolean; readonly reasons: readonly string[] };
}
interface VectorFile {
  readonly bases: Readonly<Record<string, object>>;
  readonly vectors: readonly Vector[];
}
// The repository's own files; a wrong shape fails the tests below.
const files = ['admission', 'score'].map((name) => readJson(`vectors/${name}.json`) as VectorFile);
const vectors = files.flatMap(({ vectors: some }) => some);

/** Puts a value at a pointer (RFC 6901, no escapes), or takes the member away. */
function edit(document: unknown, pointer: string, value?: unknown): void {
  const [, ...steps] = pointer.split('/');
  const last = steps.pop() ?? '';
  const owner = steps.reduce((at, step) => (isObject(at) ? at[step] : undefined), document);
  if (!isObject(owner)) throw new Error(`no ${pointer}`);
  if (value === undefined) Reflect.deleteProperty(owner, last);
  else Reflect.set(owner, last, value);
}

const inputs = files.flatMap(({ bases, vectors: some }) =>
  some.map((vector) => {
    const document = structuredClone(bases[vector.base]);
    for (const [pointer, value] of Object.entries(vector.set ?? {})) edit(document, pointer, value);
    for (const pointer of vector.remove ?? []) edit(document, pointer);
    return document;
  }),
);

function outcome(document: unknown): unknown {
  try {
    const { allow, obligations, reasons, score, threshold, tier } = engine.replay(
      utf8(canonicalJson(document)),
    );
    return { allow, obligations, reasons, score, threshold, tier };
  } catch (thrown) {
    t.match(thrown, { name: 'Unavailable', code: 'policy.undefined' });
    return 'undefined';
  }
}

/** Of an outcome what a vector speaks of. */
function only(given: unknown, wanted: Vector['expect']): unknown {
  if (!isObject(given) || wanted === 'undefined') return given;
  return Object.fromEntries(Object.entries(given).filter(([name]) => Object.hasOwn(wanted, name)));
}

void t.test('golden vectors, on the compiled module', async (t) => {
  t.ok(vectors.length >= 110, 'they are there');
  for (const [i, { name, expect }] of vectors.entries())
    t.strictSame(only(outcome(inputs[i]), expect), expect, name);
});

void t.test('golden vectors: the score is the sum of levels times weights', async (t) => {
  const { weights } = readJson('data/score.json') as { readonly weights: Levels }; // the schema is checked below
  const scored = vectors.flatMap(({ name, levels }, i) =>
    levels === undefined ? [] : [{ name, levels, i }],
  );
  t.ok(scored.length >= 30, 'they are there');
  for (const { name, levels, i } of scored) {
    t.strictSame(Object.keys(levels).toSorted(), Object.keys(weights).toSorted(), name);
    const sum = Object.entries(levels).reduce(
      (total, [factor, level]) => total + level * (weights[factor] ?? 0),
      0,
    );
    t.match(outcome(inputs[i]), { score: sum }, name);
  }
  if (opa === undefined) return;
  const answers = askOpa(t, opa, 'data.troad.score.levels');
  for (const { name, levels, i } of scored) t.strictSame(answers[i], levels, `${name}: levels`);
});

/** What the sources answer to every vector. */
function askOpa(t: Test, compiler: Opa, rule: string): readonly unknown[] {
  const scratch = mkdtempSync(join(tmpdir(), 'troad-vectors-'));
  t.teardown(() => rmSync(scratch, { recursive: true, force: true }));
  const file = join(scratch, 'inputs.json');
  writeFileSync(file, JSON.stringify({ inputs }));
  const query = `[d | some i in data.vectors.inputs; d := ${rule} with input as i]`;
  const data = [...SOURCES, `vectors:${file}`].flatMap((source) => ['-d', source]);
  const output: unknown = JSON.parse(compiler.run(['eval', '-f', 'values', ...data, query]));
  // -f values: one array for each result, each with one value for each expression.
  const answers: readonly unknown[] = Array.isArray(output) && Array.isArray(output[0]) ? output[0] : [];
  t.equal(answers.length, inputs.length);
  return answers;
}

void t.test('golden vectors: the module answers what opa answers', withOpa, async (t) => {
  if (opa === undefined) return;
  const answers = askOpa(t, opa, 'data.troad.exchange.decision');
  for (const [i, document] of inputs.entries()) {
    const results = engine.evaluate(JSON.stringify(document));
    t.strictSame(results, [{ result: answers[i] }], vectors[i]?.name ?? '');
  }
});

void t.test('every reason occurs in the vectors', async (t) => {
  const seen = new Set(vectors.flatMap(({ expect }) => (expect === 'undefined' ? [] : expect.reasons)));
  t.strictSame([...seen].toSorted(), [...engine.reasons.keys()].toSorted());
});

void t.test('the bundle was made from the sources that lie beside it', async (t) => {
  const manifest = readJson('bundle/manifest.json');
  const sources = isObject(manifest) && isObject(manifest['sources']) ? manifest['sources'] : {};
  const inside = (folder: string) => readdirSync(join(POLICIES, folder)).map((name) => `${folder}/${name}`);
  const present = ['capabilities.json', ...['data', 'schemas', 'troad'].flatMap(inside)].toSorted();
  t.strictSame(Object.keys(sources).toSorted(), present, 'all of them, no others');
  for (const path of present) {
    t.equal(sources[path], createHash('sha256').update(read(path)).digest('hex'), path);
  }
});

void t.test('O08: no clock, network, randomness or host facts among the capabilities', async (t) => {
  const capabilities = readJson('capabilities.json');
  if (!isObject(capabilities) || !Array.isArray(capabilities['builtins']))
    throw new Error('capabilities.json');
  t.strictSame(capabilities['allow_net'], []);
  const names = capabilities['builtins'].map((builtin: unknown) =>
    isObject(builtin) ? builtin['name'] : undefined,
  );
  t.ok(names.length > 20);
  const ambient =
    /^(?:time|http|io|crypto|opa|rand|uuid|trace|regex|glob|walk|graph|net\.lookup|yaml|numbers|rego)\b/;
  t.strictSame(
    names.filter((name) => typeof name !== 'string' || ambient.test(name)),
    [],
  );
});

/** Compiles one module of Rego; `options` as for `opa build`. */
function compile(compiler: Opa, rego: string, options: readonly string[]): Uint8Array {
  const scratch = mkdtempSync(join(tmpdir(), 'troad-rego-'));
  try {
    const source = join(scratch, 'test.rego');
    writeFileSync(source, rego);
    return compiler.compile('test/decision', [source], options);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

void t.test('O08: a policy that reads what is not in its input is refused twice', withOpa, async (t) => {
  if (opa === undefined) return;
  const limits = ['--capabilities', 'capabilities.json'];
  for (const [name, call] of [
    ['rand.intn', 'rand.intn("x", 2)'],
    ['sprintf', 'sprintf("%v", [input])'],
    ['time.now_ns', 'time.now_ns()'],
  ] as const) {
    const rego = `package test\n\ndecision := {"allow": true, "x": ${call}}\n`;
    t.throws(
      () => compile(opa, rego, limits),
      new RegExp(`undefined function ${name}`),
      `${name}, by the compiler`,
    );
    const wasm = compile(opa, rego, []);
    t.throws(
      () => PolicyEngine.load(Bundle.parse(bundleFiles(wasm))),
      { name: 'ConfigError', message: new RegExp(`wants builtins of the host: ${name}`) },
      `${name}, by the gateway`,
    );
  }
});

void t.test('O03: rules that contradict each other fail closed', withOpa, async (t) => {
  if (opa === undefined) return;
  const rego =
    'package test\n\ndecision := {"allow": true} if input.x\n\ndecision := {"allow": false} if input.x\n';
  const conflicting = PolicyEngine.load(Bundle.parse(bundleFiles(compile(opa, rego, []))));
  t.throws(() => conflicting.replay(utf8('{"decision_id":"d","x":true}')), {
    code: 'policy.failed',
    message: /conflict/,
  });
  t.throws(() => conflicting.replay(utf8('{"decision_id":"d"}')), {
    code: 'policy.undefined',
    message: /0 results/,
  });
});
