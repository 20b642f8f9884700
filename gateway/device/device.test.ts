// Numbers are rows of the list of negative cases in docs/devices.md; R: of the requirements for results.
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import {
  AUDIENCE,
  BINDING_SPKI,
  bound,
  CONNECTION,
  CONTENT,
  ISSUER,
  KEYS,
  NOW,
  SIGNER,
  token,
} from '../../conformance/builders/ear.ts';
import { base64url, utf8 } from '../core/bytes.ts';
import type { RefusalCode } from '../core/refusals.ts';
import { EndpointDevice, NodeDevice, type DeviceConnection } from './attested-device.ts';
import { type EarContent, formatEar, parseEar } from './ear.ts';
import { DeviceRegister } from './register.ts';
import { Revocations, signRevocations } from './revocations.ts';
import { atLeast, tierOf, TIERS, worstTier } from './tier.ts';
import { signToken } from './token.ts';

const denied = (code: RefusalCode) => Object.assign(new Error(), { name: 'Denied', code });
const checksOf = (register = new DeviceRegister()) => ({ keys: KEYS, register });

interface Shown {
  readonly token?: string;
  readonly binding?: string | undefined;
  readonly connection?: DeviceConnection;
  readonly register?: DeviceRegister;
  readonly now?: number;
  readonly audience?: string;
}
const verify = ({
  connection = CONNECTION,
  register,
  now = NOW,
  audience = AUDIENCE,
  ...shown
}: Shown = {}) =>
  EndpointDevice.verify(
    { token: shown.token ?? token(), binding: 'binding' in shown ? shown.binding : bound() },
    connection,
    audience,
    checksOf(register),
    now,
  );
const minimum = (residency: 'software' | 'bound' | 'tpm') =>
  ({ tpm: 'affirming', health: 'affirming', residency }) as const;

void t.test('what is written is read', async (t) => {
  // JSON.parse gives what a token's payload is.
  const read = parseEar(JSON.parse(JSON.stringify(formatEar(CONTENT))) as Record<string, unknown>);
  t.same(read, CONTENT);
  const cves = { os: [202_100_044_228, 199_900_000_001], applications: [] };
  const sent = JSON.stringify(formatEar({ ...CONTENT, cves }));
  t.ok(sent.includes('"cves":{"os":["CVE-2021-44228","CVE-1999-0001"],"applications":[]}'));
  const document = JSON.parse(sent) as { readonly troad: Record<string, unknown> } & Record<string, unknown>; // as above
  t.same(parseEar(document).cves, cves);
  for (const bad of [
    null,
    [],
    { os: [] },
    { os: [], applications: [], firmware: [] },
    { os: ['log4j'], applications: [] },
    { os: [7], applications: [] },
    { os: 'CVE-2021-44228', applications: [] },
    { os: [], applications: Array.from({ length: 65 }, () => 'CVE-2021-44228') },
  ]) {
    const changed = { ...document, troad: { ...document.troad, cves: bad } };
    t.throws(() => parseEar(changed), { name: 'MalformedBytes', message: /cves/ }, JSON.stringify(bad));
  }
});

void t.test('a good result on its own connection', async (t) => {
  const proof = verify();
  t.match(proof, {
    device: CONTENT.device,
    residency: 'bound',
    tpmTier: 'affirming',
    healthTier: 'affirming',
  });
  proof.requireCurrent(NOW);
  proof.requireAtLeast(minimum('bound'));
  t.throws(() => proof.requireAtLeast(minimum('tpm')), denied('device.insufficient'));
  const inside = verify({
    connection: { ...CONNECTION, spkiSha256: BINDING_SPKI, exporter: undefined },
    binding: undefined,
  });
  t.equal(inside.residency, 'tpm', 'the TLS key is the one in the TPM');
});

void t.test('58 without a binding it is worth less', async (t) => {
  const loose = verify({ binding: undefined });
  t.equal(loose.residency, 'software');
  t.throws(() => loose.requireAtLeast(minimum('bound')), denied('device.insufficient'));
});

const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const signed = (header: object, payload: object, signature?: (input: string) => string): string => {
  const encode = (value: object | string): string =>
    base64url(utf8(typeof value === 'string' ? value : JSON.stringify(value)));
  const input = `${encode(header)}.${encode(payload)}`;
  const ours = (text: string): string =>
    base64url(sign('sha256', utf8(text), { key: SIGNER.privateKey, dsaEncoding: 'ieee-p1363' }));
  return `${input}.${(signature ?? ours)(input)}`;
};
const HEADER = { alg: 'ES256', kid: 'a1', typ: 'ear+jwt' };
const EAR = formatEar(CONTENT);
const publicPem = KEYS[0]?.publicKey.export({ type: 'spki', format: 'pem' }) ?? '';

/** A result with one thing wrong. */
const results: readonly (readonly [string, Shown, RefusalCode])[] = [
  ['56 expired', { now: NOW + 180_000 }, 'device.expired'],
  ['56 from the future', { now: NOW - 6000 }, 'device.result'],
  ['56 for another gateway', { audience: 'gw.b07.tw.troad.example' }, 'device.result'],
  ['56 of an issuer that is not the key’s', { token: signed(HEADER, { ...EAR, iss: 'other' }) }, 'device.result'],
  ['56 with a key nobody knows', { token: signToken('ear+jwt', EAR, { ...SIGNER, kid: 'a2' }) }, 'device.result'],
  ['56 signed by another key', { token: signToken('ear+jwt', EAR, { ...SIGNER, privateKey: other.privateKey }) }, 'device.result'],
  ['56 alg none', { token: signed({ ...HEADER, alg: 'none' }, EAR, () => '') }, 'device.result'],
  ['56 alg none, signed', { token: signed({ ...HEADER, alg: 'none' }, EAR) }, 'device.result'],
  ['56 HS256 with the public key', { token: signed({ ...HEADER, alg: 'HS256' }, EAR, (input) => createHmac('sha256', publicPem).update(input).digest('base64url')) }, 'device.result'],
  ['56 ES384', { token: signed({ ...HEADER, alg: 'ES384' }, EAR) }, 'device.result'],
  ['another type', { token: signed({ ...HEADER, typ: 'JWT' }, EAR) }, 'device.result'],
  ['a list of revocations', { token: signRevocations([], 1, 1, SIGNER) }, 'device.result'],
  ['a key in the header', { token: signed({ ...HEADER, jwk: {} }, EAR) }, 'device.result'],
  ['crit in the header', { token: signed({ ...HEADER, crit: ['b64'], b64: false }, EAR) }, 'device.result'],
  ['lives too long', { token: token({ expiresAt: CONTENT.issuedAt + 301 }) }, 'device.result'],
  ['ends before it begins', { token: token({ expiresAt: CONTENT.issuedAt }) }, 'device.result'],
  ['57 for another certificate', { connection: { ...CONNECTION, certificateSha256: 'x' } }, 'device.result'],
  ['59 a binding of another connection', { connection: { ...CONNECTION, exporter: Buffer.alloc(32) } }, 'device.binding'],
  ['59 a binding where there is no exporter', { connection: { ...CONNECTION, exporter: undefined } }, 'device.binding'],
  ['59 a binding by another key', { binding: bound(CONNECTION, other.privateKey) }, 'device.binding'],
  ['59 a binding for another certificate', { binding: bound({ ...CONNECTION, certificateSha256: 'x' }) }, 'device.binding'],
  ['59 an empty binding', { binding: '' }, 'device.binding'],
  ['59 a binding in DER', { binding: base64url(sign('sha256', utf8('x'), other.privateKey)) }, 'device.binding'],
  ['of a node', { token: token({ class: 'node', gateway: 'gw.b07.tw.troad.example' }) }, 'device.result'],
  ['no token', { token: '' }, 'device.result'],
  ['a token of 9,000 characters', { token: 'a'.repeat(9000) }, 'device.result'],
  ['a token with a fourth part', { token: `${token()}.x` }, 'device.result'],
  ['a binding key that is no point', { token: token({ bindingKey: { x: 'AA', y: 'AA' } }) }, 'device.result'],
]; // prettier-ignore
for (const [what, shown, code] of results) {
  void t.test(`refuses a result ${what}`, async (t) => {
    t.throws(() => verify(shown), denied(code));
  });
}

type Json = Record<string, unknown>;
// A copy of what formatEar writes, to be changed.
const changed = (
  change: (ear: { submods: Record<string, Json>; troad: Json; cnf: Json } & Json) => void,
): Json => {
  const ear = JSON.parse(JSON.stringify(EAR)) as Parameters<typeof change>[0];
  change(ear);
  return ear;
};
for (const [what, payload] of [
  ['R37 no profile', changed((ear) => delete ear['eat_profile'])],
  ['R37 another profile', changed((ear) => (ear['eat_profile'] = 'tag:ietf.org,2026:rats/ear#05'))],
  ['R37 no verifier', changed((ear) => delete ear['ear_verifier_id'])],
  ['R37 no TPM submodule', changed((ear) => delete ear.submods['tpm'])],
  ['R37 no health submodule', changed((ear) => delete ear.submods['health'])],
  ['R37 a fraction of a second', changed((ear) => (ear['iat'] = 1.5))],
  ['R37 time as text', changed((ear) => (ear['exp'] = '1795305600'))],
  ['R37 two audiences', changed((ear) => (ear['aud'] = [AUDIENCE, 'x']))],
  ['R38 a status above its vector', changed((ear) => (ear.submods['tpm'] = { ...ear.submods['tpm'], ear_trustworthiness_vector: { executables: 96 } }))],
  ['R38 a status below its vector', changed((ear) => (ear.submods['tpm'] = { ...ear.submods['tpm'], ear_status: 'warning' }))],
  ['R38 health better than its items', changed((ear) => (ear.troad['health'] = { os: 96, antivirus: 2, applications: 2, configuration: 2 }))],
  ['R38 a status of no tier', changed((ear) => (ear.submods['tpm'] = { ...ear.submods['tpm'], ear_status: 'good' }))],
  ['R40 a claim of 128', changed((ear) => (ear.submods['tpm'] = { ...ear.submods['tpm'], ear_trustworthiness_vector: { executables: 128 } }))],
  ['R41 runtime opaque to its host', changed((ear) => (ear.submods['tpm'] = { ...ear.submods['tpm'], ear_trustworthiness_vector: { 'runtime-opaque': 2 } }))],
  ['an unknown category', changed((ear) => (ear.submods['tpm'] = { ...ear.submods['tpm'], ear_trustworthiness_vector: { luck: 2 } }))],
  ['two policies', changed((ear) => (ear.submods['tpm'] = { ...ear.submods['tpm'], ear_appraisal_policy_ids: ['a', 'b'] }))],
  ['different policies', changed((ear) => (ear.submods['tpm'] = { ...ear.submods['tpm'], ear_appraisal_policy_ids: ['a'] }))],
  ['two times of issue', changed((ear) => (ear.troad['sequence'] = CONTENT.sequence + 1000))],
  ['no number', changed((ear) => delete ear.troad['sequence'])],
  ['a node without a gateway', changed((ear) => (ear.troad['class'] = 'node'))],
  ['an unknown class', changed((ear) => (ear.troad['class'] = 'king'))],
  ['a negative epoch', changed((ear) => (ear.troad['epoch'] = -1))],
  ['no certificate', changed((ear) => delete ear.cnf['x5t#S256'])],
  ['a key on another curve', changed((ear) => (ear.cnf['jwk'] = { kty: 'EC', crv: 'P-384', x: 'x', y: 'y' }))],
] as const) {
  void t.test(`refuses a payload with ${what}`, async (t) => {
    t.throws(() => verify({ token: signed(HEADER, payload) }), denied('device.result'));
  });
} // prettier-ignore

void t.test('unknown claims are ignored', async (t) => {
  t.ok(
    verify({
      token: signed(
        HEADER,
        changed((ear) => (ear['new_claim'] = { x: 1 })),
      ),
    }),
  );
});

void t.test('a member twice is refused, whatever it says', async (t) => {
  const text = JSON.stringify(EAR).replace('{"eat_profile"', '{"aud":"x","eat_profile"');
  const input = `${base64url(utf8(JSON.stringify(HEADER)))}.${base64url(utf8(text))}`;
  const signature = sign('sha256', utf8(input), { key: SIGNER.privateKey, dsaEncoding: 'ieee-p1363' });
  t.throws(() => verify({ token: `${input}.${base64url(signature)}` }), denied('device.result'));
});

void t.test('no character of a token can be changed', async () => {
  const good = token();
  fc.assert(
    fc.property(
      fc.nat(good.length - 1),
      fc.constantFrom('A', 'b', '0', '_', '-', '.', '{'),
      (at, character) => {
        if (good[at] === character) return true;
        const bad = good.slice(0, at) + character + good.slice(at + 1);
        try {
          verify({ token: bad });
          return false;
        } catch (thrown) {
          return thrown instanceof Error && thrown.name === 'Denied';
        }
      },
    ),
    { numRuns: 500 },
  );
});

void t.test('66 the worst claim decides', async (t) => {
  const rows: readonly (readonly [Partial<EarContent>, string, string])[] = [
    [{}, 'affirming', 'affirming'],
    [{ tpm: { ...CONTENT.tpm, hardware: 32 } }, 'warning', 'affirming'],
    [{ tpm: { ...CONTENT.tpm, executables: 96, hardware: 32 } }, 'contraindicated', 'affirming'],
    [{ tpm: { ...CONTENT.tpm, configuration: 0 } }, 'none', 'affirming'],
    [{ health: { ...CONTENT.health, antivirus: 36 } }, 'affirming', 'warning'],
    [{ health: { ...CONTENT.health, os: 96 } }, 'affirming', 'contraindicated'],
  ];
  for (const [content, tpm, health] of rows) {
    const proof = verify({ token: token(content) });
    t.match(proof, { tpmTier: tpm, healthTier: health });
    const good = tpm === 'affirming' && health === 'affirming';
    if (good) proof.requireAtLeast(minimum('bound'));
    else t.throws(() => proof.requireAtLeast(minimum('bound')), denied('device.insufficient'));
  }
  verify({ token: token({ health: { ...CONTENT.health, os: 96 } }) }).requireAtLeast({
    tpm: 'affirming',
    health: 'contraindicated',
    residency: 'bound',
  });
});

void t.test('R40 tiers of all values', async (t) => {
  const of = (value: number): string => tierOf(value) ?? '-';
  const borders: readonly (readonly [number, string])[] = [
    [-129, '-'], [-128, 'contraindicated'], [-97, 'contraindicated'], [-96, 'warning'], [-33, 'warning'],
    [-32, 'affirming'], [-2, 'affirming'], [-1, 'none'], [0, 'none'], [1, 'none'], [2, 'affirming'], [31, 'affirming'],
    [32, 'warning'], [95, 'warning'], [96, 'contraindicated'], [127, 'contraindicated'], [128, '-'], [2.5, '-'],
  ]; // prettier-ignore
  for (const [value, tier] of borders) t.equal(of(value), tier, `${value}`);
  t.equal(worstTier(['affirming', 'none', 'warning']), 'warning');
  t.equal(worstTier([]), 'none');
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...TIERS)),
      fc.constantFrom(...TIERS),
      (tiers, more) =>
        TIERS.indexOf(worstTier([...tiers, more])) <= TIERS.indexOf(worstTier([...tiers, more, ...tiers])),
    ),
  );
  t.notOk(atLeast('none', 'warning'));
  t.ok(TIERS.every((tier) => atLeast(tier, 'contraindicated') && atLeast('affirming', tier)));
});

void t.test('62, 63 a worse result ends the older one, and so does a start of the machine', async (t) => {
  const register = new DeviceRegister();
  const later = (seconds: number, changes: Partial<EarContent> = {}): Shown => ({
    register,
    token: token({
      id: `r${seconds}`,
      issuedAt: CONTENT.issuedAt + seconds,
      expiresAt: CONTENT.expiresAt + seconds,
      ...changes,
    }),
    now: NOW + seconds * 1000,
  });
  const good = verify({ register });
  const worse = verify(later(10, { tpm: { executables: 96 } }));
  t.ok(worse.isNewerThan(good) && !good.isNewerThan(worse));
  t.throws(() => good.requireCurrent(NOW + 10_000), denied('device.superseded'));
  t.throws(
    () => verify({ register, now: NOW + 10_000 }),
    denied('device.superseded'),
    'nor is it taken again',
  );
  worse.requireCurrent(NOW + 10_000);
  const rebooted = verify(later(20, { resetCount: 8 }));
  t.throws(() => verify(later(30, { resetCount: 7, restartCount: 9 })), denied('device.superseded'), '63');
  rebooted.requireCurrent(NOW + 30_000);
  t.throws(() => rebooted.requireCurrent(NOW + 200_000), denied('device.expired'), '64 no grace');
  const audience = 'gw.b07.tw.troad.example';
  verify({ ...later(20, { audience, resetCount: 7 }), audience });
});

void t.test('memory is bounded: beyond it newcomers are refused until others have expired', async (t) => {
  const register = new DeviceRegister();
  const now = CONTENT.issuedAt;
  const one = (i: number, later = 0): EarContent => ({
    ...CONTENT,
    device: `d${i}`,
    issuedAt: CONTENT.issuedAt + later,
    sequence: CONTENT.sequence + later * 1000,
    expiresAt: CONTENT.expiresAt + later,
  });
  for (let i = 0; i < 100_000; i += 1) register.admit(one(i), now);
  t.throws(() => register.admit(one(100_000), now), denied('device.superseded'));
  t.doesNotThrow(
    () => register.admit({ ...one(5, 1), id: 'renewed' }, now + 1),
    'those that are known renew',
  );
  const others = (i: number) => ({ ...one(i), issuer: 'attest.b07.tw.troad.example' });
  for (let i = 0; i < 10_000; i += 1) register.admit(others(i), now);
  t.throws(() => register.admit(others(10_000), now), denied('device.superseded'), 'of another service, too');
  register.admit(one(7), now); // the known ones go on
  t.doesNotThrow(() => register.admit(one(100_000, 300), now + 300));
});

void t.test('61 results of a policy that is no longer in force', async (t) => {
  const register = new DeviceRegister();
  const proof = verify({ register });
  register.policies = ['urn:troad:appraisal:edge:2@sha256:y'];
  t.throws(() => proof.requireCurrent(NOW), denied('device.superseded'));
  t.throws(() => verify({ register }), denied('device.superseded'));
  register.policies = [CONTENT.policyId];
  proof.requireCurrent(NOW);
  register.policies = undefined;
  proof.requireCurrent(NOW);
});

void t.test('60 revocation ends results and connections at once', async (t) => {
  const register = new DeviceRegister();
  const proof = verify({ register });
  const bystander = verify({ register, token: token({ device: 'E'.repeat(43) }) });
  const closed: string[] = [];
  register.watch(proof, (why) => closed.push(why.code));
  register.watch(bystander, () => closed.push('bystander'));
  const stop = register.watch(proof, () => closed.push('gone already'));
  stop();
  const revocation = { device: CONTENT.device, epoch: 2, before: CONTENT.sequence };
  const list = (sequence: number) =>
    Revocations.open(signRevocations([revocation], sequence, 1, SIGNER), KEYS);
  t.ok(register.revoke(list(5), NOW));
  t.same(closed, ['device.revoked']);
  t.throws(() => proof.requireCurrent(NOW), denied('device.revoked'));
  t.throws(() => verify({ register }), denied('device.revoked'));
  t.notOk(register.revoke(Revocations.open(signRevocations([], 4, 1, SIGNER), KEYS), NOW), 'an older list');
  t.notOk(register.revoke(list(5), NOW));
  t.throws(() => proof.requireCurrent(NOW), denied('device.revoked'));
  const again = verify({
    register,
    token: token({ id: 'r2', epoch: 2, issuedAt: CONTENT.issuedAt + 1, expiresAt: CONTENT.expiresAt }),
    now: NOW + 1000,
  });
  const watched = register.watch(again, () => closed.push('enrolled again'));
  t.ok(register.revoke(list(6), NOW + 1000));
  t.same(
    closed,
    ['device.revoked', 'device.revoked'],
    'who enrolled again since then goes on; the former connection is told once more',
  );
  watched();
});

void t.test('a list of a service that was started anew forgets nothing that is still alive', async (t) => {
  const register = new DeviceRegister();
  const revocation = { device: CONTENT.device, epoch: 2, before: CONTENT.sequence + 1 };
  const open = (entries: readonly (typeof revocation)[], sequence: number) =>
    Revocations.open(signRevocations(entries, sequence, 1, SIGNER), KEYS);
  register.revoke(open([revocation], 5), NOW);
  register.revoke(open([], 6), NOW + 1000);
  t.throws(() => verify({ register }), denied('device.revoked'));
  register.revoke(open([{ ...revocation, epoch: 1, before: 0 }], 7), NOW + 2000);
  t.throws(() => verify({ register }), denied('device.revoked'), 'the stricter of both');
  register.revoke(open([], 8), NOW + 400_000);
  const late = { id: 'r9', issuedAt: CONTENT.issuedAt + 400, expiresAt: CONTENT.expiresAt + 400 };
  t.ok(verify({ register, token: token(late), now: NOW + 400_000 }), 'five minutes later it has served');
});

for (const [what, payload] of [
  ['no sequence', { iss: ISSUER, iat: 1, revoked: [] }],
  ['a negative sequence', { iss: ISSUER, iat: 1, seq: -1, revoked: [] }],
  ['no list', { iss: ISSUER, iat: 1, seq: 1 }],
  ['an entry of two', { iss: ISSUER, iat: 1, seq: 1, revoked: [['d', 1]] }],
  ['an entry of four', { iss: ISSUER, iat: 1, seq: 1, revoked: [['d', 1, 1, 1]] }],
  ['an entry that is no list', { iss: ISSUER, iat: 1, seq: 1, revoked: ['d'] }],
  ['another issuer', { iss: 'x', iat: 1, seq: 1, revoked: [] }],
] as const) {
  void t.test(`refuses a list of revocations with ${what}`, async (t) => {
    const text = signed({ ...HEADER, typ: 'troad-device-revocations+jwt' }, payload);
    t.throws(() => Revocations.open(text, KEYS), denied('device.result'));
  });
}

void t.test('a node is the host of its gateway, and no other', async (t) => {
  const peer = 'gw.b07.tw.troad.example';
  const node = (content: Partial<EarContent>, named = peer) =>
    NodeDevice.verify(
      { token: token(content), binding: bound() },
      CONNECTION,
      named,
      AUDIENCE,
      checksOf(),
      NOW,
    );
  t.equal(node({ class: 'node', gateway: peer }).gateway, peer);
  t.throws(() => node({ class: 'node', gateway: peer }, 'gw.c01.tw.troad.example'), denied('device.result'));
  t.throws(() => node({}), denied('device.result'), 'an endpoint is no node');
});

void t.test('a check of a request costs about a microsecond', async (t) => {
  const register = new DeviceRegister();
  const proof = verify({ register });
  for (let i = 0; i < 20_000; i += 1) proof.requireCurrent(NOW);
  const began = performance.now();
  for (let i = 0; i < 100_000; i += 1) proof.requireCurrent(NOW);
  const each = (performance.now() - began) / 100;
  t.ok(each < 20, `${each.toFixed(2)} µs`);
});
