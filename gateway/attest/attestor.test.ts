// Numbers are rows of the list of negative cases in docs/devices.md; A: of the list of attacks, R: of requirements.
import { createHash } from 'node:crypto';
import t, { type Test as T } from 'tap';
import { gzipSync } from 'node:zlib';
import {
  boot,
  CERTIFICATE,
  type EvidenceChanges,
  GATEWAY,
  HEALTHY,
  Lab,
  PCRS,
  policyBytes,
  SELECTION,
} from '../../conformance/builders/attestor-lab.ts';
import {
  agileLog,
  event,
  healthyBoot,
  sha1Record,
  specIdRecord,
  startupLocality,
} from '../../conformance/builders/event-log.ts';
import { EV } from '../tpm/event-log.ts';
import { LyingTpm } from '../../conformance/builders/lying-tpm.ts';
import { base64url, sha256, utf8 } from '../core/bytes.ts';
import { type EarContent, parseEar } from '../device/ear.ts';
import { Revocations } from '../device/revocations.ts';
import { openToken } from '../device/token.ts';
import { HASH } from '../tpm/algorithm.ts';
import { ATTEST_TYPE } from '../tpm/attest.ts';
import { canonicalJson } from '../trust/canonical.ts';
import { claimsDocument } from './health.ts';
import { parsePolicy } from './policy.ts';
import type { RefusedCode } from './refused.ts';

const SESSION = 'A'.repeat(43);

async function enrolled(t: T, change?: Parameters<typeof Lab.start>[1]) {
  const lab = await Lab.start(t, change);
  const tpm = new LyingTpm();
  boot(tpm);
  const { id } = await lab.enrol(tpm);
  const opened = (token: string): EarContent => parseEar(openToken('ear+jwt', token, lab.keys).payload);
  const attested = async (changes: EvidenceChanges = {}) => opened(await lab.attest(tpm, id, changes));
  const refused = (t: T, changes: EvidenceChanges, code: RefusedCode | undefined, what = '') =>
    code === undefined
      ? t.rejects(lab.attest(tpm, id, changes), { name: 'MalformedBytes' }, what)
      : t.rejects(lab.attest(tpm, id, changes), Object.assign(new Error(), { name: 'Refused', code }), what);
  return { lab, tpm, id, opened, attested, refused };
}

void t.test('a healthy device gets a result that affirms it', async (t) => {
  const { attested, lab, tpm, id } = await enrolled(t);
  const result = await attested();
  t.match(result, {
    issuer: 'attest.tw.troad.example',
    audience: GATEWAY,
    device: id,
    certificate: base64url(CERTIFICATE),
    class: 'endpoint',
    epoch: 1,
    resetCount: 7,
    policyId: lab.attestor.policyId,
    tpm: { 'instance-identity': 2, hardware: 2, executables: 3, configuration: 2 },
    health: { os: 2, antivirus: 2, applications: 2, configuration: 2 },
  });
  t.equal(result.expiresAt - result.issuedAt, 180);
  t.equal(result.issuedAt, lab.time.now / 1000);
  const { key } = tpm.binding.area;
  t.equal(key.type === 'ecc' && base64url(key.x), result.bindingKey.x);
  t.same(lab.appraisals.at(-1)?.findings, []);
});

for (const ak of ['rsassa', 'rsapss'] as const) {
  void t.test(`with an ${ak} attestation key and an RSA endorsement key`, async (t) => {
    const lab = await Lab.start(t);
    const tpm = new LyingTpm({ ek: 'rsa', ak });
    boot(tpm);
    const { id } = await lab.enrol(tpm);
    t.ok(await lab.attest(tpm, id));
  });
}

/** One change each to honest evidence. Rows that begin with a number are those of the list. */
const nearMisses: readonly (readonly [string, (tpm: LyingTpm) => EvidenceChanges, RefusedCode | undefined])[] = [
  ['30 another magic', () => ({ fields: { magic: 0xff544348 } }), 'evidence.structure'],
  ['31 a time attestation', () => ({ fields: { type: 0x8019 } }), 'evidence.structure'],
  ['31 certify instead of quote', (tpm) => ({ attest: (data) => tpm.certifyBytes(tpm.binding.area, data) }), 'evidence.type'],
  ['31 NV instead of quote', (tpm) => ({ attest: (extraData) => tpm.attest({ type: ATTEST_TYPE.nv, extraData, attested: Buffer.from('000000000000', 'hex') }) }), 'evidence.type'],
  ['28 a trailing byte in the quote', () => ({ fields: { tail: Buffer.of(0) } }), 'evidence.structure'],
  ['28 a trailing byte in the signature', (tpm) => ({ sign: (attest) => Buffer.concat([tpm.sign(attest), Buffer.of(0)]) }), 'evidence.signature'],
  ['42 safe of 2', () => ({ fields: { safe: 2 } }), 'evidence.structure'],
  ['32 an unknown nonce', () => ({ body: { session: SESSION } }), 'evidence.nonce'],
  ['32 a nonce in another spelling', () => ({ body: { session: 'A'.repeat(64) } }), undefined],
  ['32 an empty nonce', () => ({ body: { session: '' } }), undefined],
  ['32 a quote of another nonce', () => ({ extraData: sha256('another') }), 'evidence.binding'],
  ['32 no nonce in the quote', () => ({ extraData: Buffer.alloc(0) }), 'evidence.binding'],
  ['33 claims exchanged', () => ({ bound: { claims: utf8('{}') } }), 'evidence.binding'],
  ['33 certificate exchanged', () => ({ bound: { certificate: sha256('x') } }), 'evidence.binding'],
  ['33 log exchanged', () => ({ bound: { eventLog: Buffer.alloc(0) } }), 'evidence.binding'],
  ['33 gateway exchanged', () => ({ bound: { audience: 'gw.b07.tw.troad.example' } }), 'evidence.binding'],
  ['33 a gateway nobody serves', () => ({ body: { audience: 'gw.b07.tw.troad.example' } }), 'evidence.audience'],
  ['34 nothing selected', () => ({ selections: [] }), 'evidence.selection'],
  ['34 an empty selection', () => ({ selections: [{ hash: HASH.sha256, pcrs: [] }] }), 'evidence.selection'],
  ['34 another bank', () => ({ selections: [{ hash: HASH.sha1, pcrs: PCRS }] }), 'evidence.selection'],
  ['34 fewer PCRs', () => ({ selections: [{ hash: HASH.sha256, pcrs: PCRS.slice(1) }] }), 'evidence.selection'],
  ['34 more PCRs', () => ({ selections: [{ hash: HASH.sha256, pcrs: [...PCRS, 15] }] }), 'evidence.selection'],
  ['34 a second bank', () => ({ selections: [SELECTION, { hash: HASH.sha384, pcrs: [] }] }), 'evidence.selection'],
  ['35 signer of another name', () => ({ fields: { qualifiedSigner: new LyingTpm().akQualifiedName } }), 'evidence.signer'],
  ['35 signer without a name', () => ({ fields: { qualifiedSigner: Buffer.alloc(0) } }), 'evidence.signer'],
  ['35 signed by another device', () => ({ sign: (attest) => new LyingTpm().sign(attest) }), 'evidence.signature'],
  ['36 signed with another algorithm', (tpm) => ({ sign: (attest) => tpm.sign(attest, new LyingTpm({ ak: 'rsassa' }).ak) }), 'evidence.signature'],
  ['39 signed by the unrestricted key of the same TPM', (tpm) => ({ sign: (attest) => tpm.sign(attest, tpm.binding) }), 'evidence.signature'],
  ['43 an empty log', () => ({ eventLog: Buffer.alloc(0) }), 'evidence.log'],
  ['43 a truncated log', () => ({ eventLog: agileLog(healthyBoot()).subarray(0, -1) }), 'evidence.log'],
  ['43 garbage after the log', () => ({ eventLog: Buffer.concat([agileLog(healthyBoot()), Buffer.of(0)]) }), 'evidence.log'],
  ['43 a log that is not gzip', () => ({ gzip: agileLog(healthyBoot()) }), 'evidence.log'],
  ['44 a bank announced twice', () => ({ eventLog: specIdRecord([HASH.sha256, HASH.sha256]) }), 'evidence.log'],
  ['45 an event removed', () => ({ events: healthyBoot().slice(1) }), 'evidence.pcr_digest'],
  ['45 an event added', () => ({ events: [...healthyBoot(), event(4, EV.ipl, 'x')] }), 'evidence.pcr_digest'],
  ['45 events exchanged', () => ({ events: healthyBoot().toReversed() }), 'evidence.pcr_digest'],
  ['45 an event moved to another PCR', () => ({ events: healthyBoot().map((built) => (built.pcr === 9 ? { ...built, pcr: 8 } : built)) }), 'evidence.pcr_digest'],
  ['46 an event relabelled NO_ACTION', () => ({ events: healthyBoot().map((built) => (built.pcr === 9 ? { ...built, type: EV.noAction } : built)) }), 'evidence.pcr_digest'],
  ['49 a separator missing', () => ({ events: healthyBoot().filter(({ type, pcr }) => type !== EV.separator || pcr !== 2) }), 'evidence.pcr_digest'],
  ['52 another start of PCR 0', () => ({ events: [startupLocality(3), ...healthyBoot()] }), 'evidence.pcr_digest'],
  ['52 a late start of PCR 0', () => ({ events: [...healthyBoot(), startupLocality(3)] }), 'evidence.log'],
  ['55 only SHA-1', () => ({ eventLog: Buffer.concat(healthyBoot().map((built) => sha1Record(built))) }), 'evidence.bank'],
  ['54 a gzip bomb', () => ({ gzip: gzipSync(Buffer.alloc(50_000_000)) }), 'evidence.log_too_large'],
  ['54 5001 events', () => ({ eventLog: agileLog(Array.from({ length: 5001 }, () => event(4, EV.ipl, ''))) }), 'evidence.log'],
  ['67 a member of the claims twice', () => ({ claimsText: canonicalJson(claimsDocument(HEALTHY)).replace('{"agent"', '{"agent":"x","agent"') }), 'evidence.claims'],
  ['67 claims with a blank', () => ({ claimsText: ` ${canonicalJson(claimsDocument(HEALTHY))}` }), 'evidence.claims'],
  ['claims that say more', () => ({ claimsText: canonicalJson({ ...claimsDocument(HEALTHY), healthy: true }) }), 'evidence.claims'],
  ['a value sent for a PCR that does not have it', () => ({ pcrValues: [{ pcr: 14, value: base64url(sha256('x')) }] }), 'evidence.pcr_digest'],
]; // prettier-ignore

for (const [what, changes, code] of nearMisses) {
  void t.test(`refuses ${what}`, async (t) => {
    const { refused, tpm, attested } = await enrolled(t);
    await refused(t, changes(tpm), code);
    t.ok(await attested(), 'and the honest one afterwards is fine');
  });
}

void t.test('45 events left out, and the value they led to sent instead', async (t) => {
  // What may be there and need not, as optional firmware does: without events it was as good as never extended.
  for (const sequence of [[], [{ any: ['a'.repeat(64)], min: 0, max: 4 }]]) {
    const policy = parsePolicy(
      policyBytes((draft) => (draft.pcrs.rules['14'] = { claim: 'executables', sequence })),
    );
    const { lab, tpm, attested } = await enrolled(t, () => ({ policy }));
    t.match((await attested()).tpm, { executables: 3 }, 'nothing extended');
    tpm.extend(14, sha256('a loader that nobody knows'));
    const value = tpm.pcrs.get(14) ?? Buffer.alloc(32);
    const worse = await attested({ pcrValues: [{ pcr: 14, value: base64url(value) }] });
    t.match(worse.tpm, { executables: 96 });
    t.match(lab.appraisals.at(-1)?.findings, [/^PCR 14: .*not in the log/]);
  }
});

void t.test('26, 27 no bit of quote or signature may change', async (t) => {
  const { lab, tpm, id, refused } = await enrolled(t);
  const sample = tpm.quoteBytes(Buffer.alloc(32), [SELECTION]);
  const flip = (bytes: Buffer, bit: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy.writeUInt8(copy.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    return copy;
  };
  for (let bit = 0; bit < sample.length * 8; bit += 7) {
    const body = lab.present(tpm, id);
    const attest = Buffer.from(String(body['attest']), 'base64url');
    const changed = { ...body, attest: base64url(flip(attest, bit)) };
    await t.rejects(lab.attestor.evidence(changed, lab), { code: 'evidence.signature' });
  }
  for (let bit = 0; bit < 72 * 8; bit += 5) {
    await refused(t, { sign: (attest) => flip(tpm.sign(attest), bit) }, 'evidence.signature');
  }
});

void t.test('32, 65 a nonce is good once, for a minute, on its connection, for its device', async (t) => {
  const { lab, tpm, id } = await enrolled(t);
  const other = new LyingTpm();
  boot(other);
  await lab.enrol(other, 'pc-2');
  const body = lab.present(tpm, id);
  const both = await Promise.allSettled([lab.attestor.evidence(body, lab), lab.attestor.evidence(body, lab)]);
  t.same(
    both.map(({ status }) => status).toSorted(),
    ['fulfilled', 'rejected'],
    'at the same time: one winner',
  );
  const denied = (code: RefusedCode) => Object.assign(new Error(), { name: 'Refused', code });
  await t.rejects(lab.attestor.evidence(body, lab), denied('evidence.nonce'));
  const slow = lab.present(tpm, id);
  lab.wait(60_001);
  await t.rejects(lab.attestor.evidence(slow, lab), denied('evidence.nonce'));
  await t.rejects(lab.attestor.evidence(lab.present(tpm, id), {}), denied('evidence.connection'));
  const theirs = lab.present(other, id);
  await t.rejects(
    lab.attestor.evidence(theirs, lab),
    denied('evidence.signature'),
    'the nonce of another device',
  );
});

void t.test(
  'a machine that is not as it should be gets a result that says so, and loses the former one',
  async (t) => {
    const { lab, tpm, attested } = await enrolled(t);
    await attested();
    const before = lab.attestor.sequence;
    for (const [what, events, tpmClaims] of [
    ['51 an unknown boot loader', healthyBoot({ loader: 'bootkit' }), { executables: 96, configuration: 2 }],
    ['50 Secure Boot off', healthyBoot({ secureBoot: false }), { executables: 3, configuration: 96 }],
    ['49 a separator twice', [...healthyBoot(), { pcr: 4, type: EV.separator, data: Buffer.alloc(4) }], { executables: 96 }],
    ['45 an event too many', [...healthyBoot(), event(7, EV.authority, 'another CA')], { configuration: 96 }],
    ['an event missing', healthyBoot().filter(({ pcr }) => pcr !== 9), { executables: 96 }],
    ['47 data changed under the same digest', healthyBoot().map((built) => ({ ...built, measured: built.measured ?? built.data, data: Buffer.from('harmless') })), { executables: 3, configuration: 2 }],
  ] as const) {
    boot(tpm, events);
    const result = await attested({ events });
    t.match(result.tpm, tpmClaims, what);
    lab.wait(2000);
  } // prettier-ignore
    t.ok(lab.attestor.sequence > before);
    t.ok(lab.appraisals.some(({ findings }) => findings.some((line) => line.startsWith('PCR 4: event'))));
  },
);

void t.test('48 relabel and append: a good-looking sequence behind a bad one', async (t) => {
  const { tpm, attested } = await enrolled(t);
  const bad = healthyBoot({ secureBoot: false });
  const show = healthyBoot().filter(({ pcr }) => pcr === 7);
  boot(tpm, [...bad, ...show]); // really extended: the attacker has the machine
  const relabelled = [...bad.map((built) => (built.pcr === 7 ? { ...built, type: EV.ipl } : built)), ...show];
  t.equal((await attested({ events: relabelled })).tpm.configuration, 96);
  const hidden = healthyBoot({ loader: 'bootkit' }).map((built) =>
    built.data.toString().startsWith('shim') ? { ...built, type: EV.separator } : built,
  );
  boot(tpm, hidden);
  t.equal((await attested({ events: hidden })).tpm.executables, 96, '46 a type that looks harmless');
});

void t.test('53 a PCR extended after the log was read', async (t) => {
  const { tpm, refused } = await enrolled(t);
  tpm.extend(9, sha256('x'));
  await refused(t, {}, 'evidence.pcr_digest');
});

void t.test('a PCR without a log is compared by its value', async (t) => {
  const value = createHash('sha256').update(Buffer.alloc(32)).update(sha256('MokList')).digest();
  const policy = parsePolicy(
    policyBytes((draft) => {
      draft.pcrs.rules['14'] = { claim: 'configuration', value: [value.toString('hex')] };
    }),
  );
  const { tpm, attested } = await enrolled(t, () => ({ policy }));
  t.equal((await attested()).tpm.configuration, 96, 'not extended');
  tpm.extend(14, sha256('MokList'));
  t.equal((await attested({ pcrValues: [{ pcr: 14, value: base64url(value) }] })).tpm.configuration, 2);
});

void t.test('40 time goes forward', async (t) => {
  const { tpm, attested, refused } = await enrolled(t);
  tpm.boot = { ...tpm.boot, clock: 5000n, resetCount: 9, restartCount: 2 };
  await attested();
  const at = (fields: Partial<typeof tpm.boot>): EvidenceChanges => ({ fields });
  await refused(t, at({ resetCount: 8 }), 'evidence.reset_rollback');
  await refused(t, at({ restartCount: 1 }), 'evidence.restart_rollback');
  await refused(t, at({ clock: 4999n }), 'evidence.clock_rollback');
  await attested(at({ clock: 5000n }));
  await attested(at({ restartCount: 3, clock: 10n }));
  await attested(at({ resetCount: 10, restartCount: 0, clock: 20n }));
});

void t.test('41 a clone: whoever is behind is refused', async (t) => {
  const { lab, tpm, id, attested, refused } = await enrolled(t);
  await attested();
  const original = { ...tpm.boot };
  tpm.boot = { ...original, resetCount: original.resetCount + 1, clock: 5n }; // the copy was started once more
  await attested();
  tpm.boot = { ...original, clock: original.clock + 1000n };
  await refused(t, {}, 'evidence.reset_rollback');
  t.equal(lab.devices.get(id)?.boot?.resetCount, original.resetCount + 1);
});

void t.test('A15 an unsafe clock is a weakness for a while, then refused', async (t) => {
  const { lab, tpm, attested, refused } = await enrolled(t);
  tpm.boot.safe = 0;
  t.equal((await attested()).tpm.hardware, 32);
  lab.wait(75 * 60_000);
  t.equal((await attested()).tpm.hardware, 32);
  lab.wait(1);
  await refused(t, {}, 'evidence.clock_unsafe');
  await attested({ fields: { resetCount: 8 } });
  tpm.boot = { ...tpm.boot, resetCount: 8, safe: 1 };
  t.equal((await attested()).tpm.hardware, 2);
});

void t.test('A16 another firmware in the TPM', async (t) => {
  const { tpm, attested } = await enrolled(t);
  await attested();
  tpm.boot.firmwareVersion += 1n;
  t.equal((await attested()).tpm.hardware, 32, 'not the one it began with');
  const approved = parsePolicy(policyBytes((draft) => (draft.firmware = ['2022010100000000'])));
  const strict = await enrolled(t, () => ({ policy: approved }));
  t.equal((await strict.attested()).tpm.hardware, 2);
  strict.tpm.boot.firmwareVersion = 1n;
  t.equal((await strict.attested()).tpm.hardware, 32);
});

void t.test('R42 each health item by itself', async (t) => {
  const { attested } = await enrolled(t);
  const { health } = HEALTHY;
  for (const [item, changed, value] of [
    ['os', { os: { pending: 1, checked_hours: 3 } }, 32],
    ['os', { os: { pending: 21, checked_hours: 3 } }, 96],
    ['os', { os: { pending: 0, checked_hours: 400 } }, 96],
    ['os', { os: { pending: null, checked_hours: 3 } }, 36],
    ['antivirus', { antivirus: { age_hours: 49 } }, 32],
    ['antivirus', { antivirus: { age_hours: 337 } }, 96],
    ['antivirus', { antivirus: { age_hours: null } }, 36],
    ['applications', { applications: { pending: 21, checked_hours: 3 } }, 32],
    ['applications', { applications: { pending: 501, checked_hours: null } }, 96],
    ['configuration', { configuration: { address_randomization: 'pass', disk_encryption: 'fail' } }, 32],
    ['configuration', { configuration: { address_randomization: 'unknown' } }, 36],
  ] as const) {
    const result = await attested({ claims: { ...HEALTHY, health: { ...health, ...changed } } });
    t.equal(result.health[item], value, `${item} ${value}`);
    t.equal(result.tpm.executables, 3, 'and the TPM says what it says');
  }
});

void t.test('an administrator decides, and results end', async (t) => {
  const { lab, tpm, id, attested, refused } = await enrolled(t);
  const denied = (code: RefusedCode) => Object.assign(new Error(), { name: 'Refused', code });
  await attested();
  for (const [action, state] of [['suspend', 'suspended'], ['resume', 'active'], ['revoke', 'revoked']] as const) {
    const before = lab.attestor.sequence;
    const record = await lab.attestor.administer('pc-1', action);
    t.equal(record.state, state);
    t.equal(lab.attestor.sequence > before, action !== 'resume');
    if (action === 'suspend') await refused(t, {}, 'evidence.device_inactive');
  } // prettier-ignore
  t.equal(lab.devices.get(id)?.epoch, 3);
  await t.rejects(lab.attestor.administer('pc-1', 'resume'), denied('admin.state'));
  await t.rejects(lab.attestor.administer('pc-9', 'revoke'), denied('admin.unknown_device'));
  await t.rejects(lab.attest(tpm, SESSION), denied('evidence.device_unknown'));
});

void t.test('a stranger cannot use up the nonces', async (t) => {
  const { lab, tpm, id, attested } = await enrolled(t);
  const first = lab.present(tpm, id);
  const stranger = {};
  for (let i = 0; i < 30_000; i += 1) lab.attestor.challenge({ device: id }, stranger);
  for (let i = 0; i < 30_000; i += 1) {
    const connection = {};
    lab.attestor.challenge({ device: id }, connection);
    lab.attestor.closed(connection);
  }
  t.ok(await lab.attestor.evidence(first, lab));
  const mine = [1, 2, 3, 4, 5].map(() => lab.present(tpm, id));
  const [oldest, ...others] = await Promise.allSettled(mine.map((body) => lab.attestor.evidence(body, lab)));
  t.equal(oldest?.status, 'rejected', 'four on one connection');
  t.ok(others.every(({ status }) => status === 'fulfilled'));
  t.ok(await attested());
});

void t.test('a service that is started anew remembers whom it has revoked', async (t) => {
  const { lab, id } = await enrolled(t);
  await lab.attestor.administer('pc-1', 'revoke');
  lab.wait(1000);
  const again = lab.restarted();
  t.ok(again.sequence > lab.attestor.sequence);
  const list = Revocations.open(again.revocations(), lab.keys);
  t.same([...list.devices], [id]);
  lab.wait(400_000);
  t.same([...Revocations.open(again.revocations(), lab.keys).devices], [], 'as long as a result could live');
});

void t.test('A03 does not start with a random generator that repeats itself', async (t) => {
  await t.rejects(
    Lab.start(t, () => ({ random: (bytes) => Buffer.alloc(bytes, 7) })),
    /repeats itself/,
  );
});

void t.test('learning: a draft to review, and no result', async (t) => {
  const { lab, refused } = await enrolled(t, () => ({ learning: true }));
  const reinstalled = healthyBoot({ loader: 'shim 15.9' });
  await refused(t, {}, 'evidence.learning');
  const draft = lab.attestor.draft('pc-1');
  const policy = parsePolicy(utf8(JSON.stringify(draft)));
  t.equal(policy.rules.size, PCRS.length);
  const strict = await enrolled(t, () => ({ policy }));
  t.equal((await strict.attested()).tpm.executables, 3);
  boot(strict.tpm, reinstalled);
  t.equal((await strict.attested({ events: reinstalled })).tpm.executables, 96);
  t.throws(() => strict.lab.attestor.draft('pc-1'), /no evidence/);
});

void t.test('a log in two banks, events of which the policy knows one', async (t) => {
  const { attested } = await enrolled(t);
  t.equal(
    (await attested({ eventLog: agileLog(healthyBoot(), [HASH.sha1, HASH.sha256]) })).tpm.executables,
    3,
  );
});
