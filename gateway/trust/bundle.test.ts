import { readFileSync } from 'node:fs';
import t from 'tap';
import { base64url, sha256, utf8 } from '../core/bytes.ts';
import { Bundle, type BundleFiles } from './bundle.ts';
import { bundleFiles, policyModule } from './module-fixture.ts';

const read = (name: string) => readFileSync(new URL(`../../policies/bundle/${name}`, import.meta.url));
const shipped: BundleFiles = {
  manifest: read('manifest.json'),
  wasm: read('policy.wasm'),
  data: read('data.json'),
};

void t.test('reads the bundle that is shipped', async (t) => {
  const bundle = Bundle.parse(shipped);
  t.equal(bundle.digest, base64url(sha256(shipped.manifest)));
  t.equal(bundle.entrypoint, 'troad/exchange/decision');
  t.match(bundle.revision, /^[\w-]{12}$/);
  t.match(bundle.opa, /^\d+\.\d+\.\d+$/);
  t.match(bundle.reasons.get('admission.path_not_agreed'), { en: /path/, zh: /路徑/ });
});

const wasm = policyModule();
const files = bundleFiles(wasm);
const changed = (changes: object): BundleFiles => bundleFiles(wasm, 'test/decision', changes);
const dataFile = (value: unknown): BundleFiles => {
  const data = utf8(typeof value === 'string' ? value : JSON.stringify(value));
  const hex = (bytes: Uint8Array) => sha256(bytes).toString('hex');
  return { ...changed({ files: { 'data.json': hex(data), 'policy.wasm': hex(wasm) } }), data };
};
const digest = 'ab'.repeat(32);
const flipped = (bytes: Uint8Array): Uint8Array =>
  Uint8Array.from(bytes, (byte, i) => (i === 200 ? byte ^ 1 : byte));

void t.test('the fixture is a good bundle', async (t) => {
  t.equal(Bundle.parse(files).entrypoint, 'test/decision');
});

// One change each.
const table: readonly (readonly [what: string, files: BundleFiles, problem: RegExp])[] = [
  ['another module', { ...files, wasm: policyModule({ answer: '[1]' }) }, /policy\.wasm: is not the file/],
  ['a flipped bit in the module', { ...files, wasm: flipped(wasm) }, /policy\.wasm: is not the file/],
  ['a flipped bit in the shipped module', { ...shipped, wasm: flipped(shipped.wasm) }, /policy\.wasm: is not the file/],
  ['other data', { ...files, data: utf8('{"reasons":{}}') }, /data\.json: is not the file/],
  ['no manifest', { ...files, manifest: utf8('') }, /manifest\.json: /],
  ['a manifest that is a list', { ...files, manifest: utf8('[]') }, /manifest\.json: is not a JSON object/],
  ['broken UTF-8', { ...files, manifest: Buffer.from([0x7b, 0xff, 0x7d]) }, /manifest\.json: /],
  ['a member more', changed({ delta: true }), /members are not/],
  ['a member less', changed({ sources: undefined }), /members are not/],
  ['another format', changed({ format: 'troad-policy-bundle-v2' }), /format is not/],
  ['an entrypoint that is a query', changed({ entrypoint: 'data.test' }), /entrypoint/],
  ['an entrypoint that is a number', changed({ entrypoint: 0 }), /entrypoint/],
  ['a compiler that is no version', changed({ opa: 'latest' }), /opa is not a version/],
  ['a file more', changed({ files: { 'data.json': digest, 'policy.wasm': digest, 'extra.rego': digest } }), /not exactly/],
  ['a file less', changed({ files: { 'policy.wasm': digest } }), /not exactly/],
  ['a digest in capitals', changed({ files: { 'data.json': digest.toUpperCase(), 'policy.wasm': digest } }), /no SHA-256/],
  ['a digest cut short', changed({ files: { 'data.json': digest, 'policy.wasm': 'abcd' } }), /no SHA-256/],
  ['sources that are a list', changed({ sources: [] }), /sources is not an object/],
  ['a source without digest', changed({ sources: { 'a.rego': true } }), /no SHA-256/],
  ['a module that is none', bundleFiles(utf8('wasm')), /policy\.wasm: /],
  ['data that is not JSON', dataFile('{'), /data\.json: /],
  ['data without reasons', dataFile({}), /reasons is not an object/],
  ['a reason without texts', dataFile({ reasons: { 'a.b': 'no' } }), /a reason is malformed/],
  ['a reason of another shape', dataFile({ reasons: { 'A reason': { en: 'x', 'zh-TW': 'x' } } }), /a reason is malformed/],
  ['a reason in one language', dataFile({ reasons: { 'a.b': { en: 'x' } } }), /reason a\.b lacks a text/],
  ['much data', dataFile({ reasons: {}, x: 'x'.repeat(4 << 20) }), /larger than/],
]; // prettier-ignore
for (const [what, bad, problem] of table) {
  void t.test(`refuses ${what}`, async (t) => {
    t.throws(() => Bundle.parse(bad), { name: 'ConfigError', message: problem });
  });
}

void t.test('says everything that is wrong at once', async (t) => {
  const both = { ...files, wasm: utf8('x'), data: utf8('y') };
  t.throws(() => Bundle.parse(both), { name: 'ConfigError', message: /policy\.wasm: .*\n.*data\.json: / });
});

void t.test('the digest stands for every byte of the manifest', async (t) => {
  const spaced = { ...files, manifest: utf8(` ${Buffer.from(files.manifest).toString()}`) };
  t.not(Bundle.parse(spaced).digest, Bundle.parse(files).digest);
});
