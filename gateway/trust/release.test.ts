import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import t from 'tap';
import { base64url, sha256, utf8 } from '../core/bytes.ts';
import type { BundleFiles } from './bundle.ts';
import { bundleFiles, policyModule } from './module-fixture.ts';
import {
  ReleasedBundle,
  formatRelease,
  keyIdOf,
  parseRelease,
  signRelease,
  signersOf,
  type Release,
  type Statement,
} from './release.ts';

const files = bundleFiles(policyModule());
const [anna, bert, carl, eve] = Array.from({ length: 4 }, () => generateKeyPairSync('ed25519').privateKey);
if (anna === undefined || bert === undefined || carl === undefined || eve === undefined) throw new Error();
const pem = (key: KeyObject): string =>
  createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
const signers = signersOf([anna, bert, carl].map(pem), 2);
const none = signersOf([], 0);
const DAY = 86_400_000;
const at = Date.UTC(2026, 10, 1);
const statement: Statement = {
  bundle: base64url(sha256(files.manifest)),
  version: 7,
  notBefore: at,
  expiresAt: at + 30 * DAY,
};
const signedBy = (keys: readonly KeyObject[], said: Statement = statement): Release =>
  keys.reduce<Release>((before, key) => signRelease(said, key, before), { ...said, signatures: [] });
const released = (release: Release | string): BundleFiles => ({
  ...files,
  release: utf8(typeof release === 'string' ? release : formatRelease(release)),
});

void t.test('two of three signers release a bundle', async (t) => {
  const verified = ReleasedBundle.verify(released(signedBy([anna, carl])), signers);
  t.equal(verified.digest, statement.bundle);
  t.equal(verified.version, 7);
  t.equal(verified.expiresAt, statement.expiresAt);
  verified.requireCurrent(at);
  verified.requireCurrent(at + 30 * DAY - 1);
  t.throws(() => verified.requireCurrent(at - 1), {
    code: 'bundle.not_yet_valid',
    message: /begins 2026-11-01/,
  });
  t.throws(() => verified.requireCurrent(at + 30 * DAY), {
    code: 'bundle.expired',
    message: /expired 2026-12-01/,
  });
});

void t.test('without signers a bundle needs no release, and never expires', async (t) => {
  const plain = ReleasedBundle.verify(files, none);
  t.equal(plain.version, 0);
  plain.requireCurrent(Number.MAX_SAFE_INTEGER);
  t.equal(ReleasedBundle.verify(released(signedBy([eve])), none).version, 7);
});

void t.test(
  'one key more than needed, of somebody unknown, does no harm: keys are being replaced',
  async (t) => {
    t.equal(ReleasedBundle.verify(released(signedBy([anna, bert, eve])), signers).version, 7);
  },
);

const text = formatRelease(signedBy([anna, bert]));
const edited = (from: string | RegExp, to: string): string => {
  const after = text.replace(from, to);
  if (after === text) throw new Error(`${String(from)} is not in it`);
  return after;
};
const [first] = signedBy([anna, bert]).signatures;
if (first === undefined) throw new Error();
const twice = { ...signedBy([anna]), signatures: [first, first] };
const table: readonly (readonly [what: string, files: BundleFiles, code: string])[] = [
  ['no release', files, 'bundle.unsigned'],
  ['one signer of two', released(signedBy([anna])), 'bundle.signatures_few'],
  ['nobody', released(signedBy([])), 'bundle.signatures_few'],
  ['the same signer twice', released(twice), 'bundle.release_malformed'],
  ['one known, one unknown signer', released(signedBy([anna, eve])), 'bundle.signer_unknown'],
  ['a later version than was signed', released(edited('"version": 7', '"version": 8')), 'bundle.signature_bad'],
  ['a longer life than was signed', released(edited('2026-12-01', '2027-12-01')), 'bundle.signature_bad'],
  ['an earlier begin than was signed', released(edited('2026-11-01', '2026-10-01')), 'bundle.signature_bad'],
  ['a release of other content', released(signedBy([anna, bert], { ...statement, bundle: base64url(sha256('x')) })), 'bundle.digest_mismatch'],
  ['another ABI', released(edited('"1.3"', '"1.2"')), 'bundle.abi'],
  ['another format', released(edited('release-v1', 'release-v2')), 'bundle.release_malformed'],
  ['a member more', released(edited('"abi"', '"x": 1, "abi"')), 'bundle.release_malformed'],
  ['version 0', released(edited('"version": 7', '"version": 0')), 'bundle.release_malformed'],
  ['half a version', released(edited('"version": 7', '"version": 7.5')), 'bundle.release_malformed'],
  ['a day that does not exist', released(edited('2026-12-01', '2026-11-31')), 'bundle.release_malformed'],
  ['a date in another zone', released(edited('2026-12-01T00:00:00Z', '2026-12-01T00:00:00+08:00')), 'bundle.release_malformed'],
  ['an end before the begin', released(edited('2026-12-01', '2025-12-01')), 'bundle.release_malformed'],
  ['no JSON', released('x'), 'bundle.release_malformed'],
  ['a list', released('[]'), 'bundle.release_malformed'],
  ['a signature cut short', released(edited(first.sig, first.sig.slice(4))), 'bundle.release_malformed'],
  ['a key id that is none', released(edited(first.key, 'anna')), 'bundle.release_malformed'],
  ['changed content under its release', { ...released(text), wasm: policyModule({ answer: '[1]' }) }, 'bundle.digest_mismatch'],
]; // prettier-ignore
for (const [what, bad, code] of table) {
  void t.test(`refuses ${what}: ${code}`, async (t) => {
    t.throws(() => ReleasedBundle.verify(bad, signers), { name: 'ConfigError', code });
  });
}

void t.test('what a module or a manifest is refused for', async (t) => {
  const reason = (bad: BundleFiles, code: string) =>
    t.throws(() => ReleasedBundle.verify(bad, none), { code }, code);
  reason(bundleFiles(policyModule({ imports: [['env', 'opa_println', [0, 0]]] })), 'bundle.import');
  reason(bundleFiles(utf8('wasm')), 'bundle.module');
  reason({ ...files, manifest: utf8('{}') }, 'bundle.manifest');
  reason({ ...files, data: utf8('{}') }, 'bundle.digest_mismatch');
});

void t.test('signing', async (t) => {
  const one = signedBy([anna]);
  t.strictSame(parseRelease(utf8(formatRelease(one))), one);
  t.equal(signRelease(statement, anna, one).signatures.length, 1, 'again by the same key: still one');
  t.equal(one.signatures[0]?.key, keyIdOf(createPublicKey(anna)));
  t.throws(() => signRelease({ ...statement, version: 8 }, bert, one), { message: /says something else/ });
});

void t.test('signers', async (t) => {
  t.throws(() => signersOf([pem(anna), pem(anna)], 1), { message: /named twice/ });
  t.throws(() => signersOf([pem(anna)], 2), { message: /threshold 2 of 1/ });
  t.throws(() => signersOf([pem(anna)], 0), { message: /threshold 0 of 1/ });
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  t.throws(() => signersOf([pem(ec)], 1), { message: /no Ed25519 key/ });
});
