// Numbers are rows of the list of negative cases in docs/devices.md.
import t, { type Test as T } from 'tap';
import { boot, Lab, type FinishChanges, type StartAnswer } from '../../conformance/builders/attestor-lab.ts';
import { EkAuthority, type EkCertificateChanges } from '../../conformance/builders/ek-ca.ts';
import { AKS, EKS, lyingKey, LyingTpm } from '../../conformance/builders/lying-tpm.ts';
import { base64url, sha256 } from '../core/bytes.ts';
import { readEkCertificate } from './ek-certificate.ts';
import { ALG, HASH } from '../tpm/algorithm.ts';
import { ATTRIBUTE } from '../tpm/public.ts';
import { AK_P256, BINDING_P256, EK_P256, EK_RSA } from '../tpm/templates.ts';
import type { EkTrust } from './ek-chain.ts';
import type { RefusedCode } from './refused.ts';

const DAY = 86_400_000;
const denied = (code: RefusedCode) => Object.assign(new Error(), { name: 'Refused', code });
// What startEnrolment answers.
const begin = (lab: Lab, body: Readonly<Record<string, unknown>>) =>
  lab.attestor.startEnrolment(body, {}) as StartAnswer;
const trusting = (changes: (vendor: EkAuthority) => Partial<EkTrust>) => (vendor: EkAuthority) => ({
  trust: {
    roots: [vendor.root],
    testRoots: [],
    softwareTpms: false,
    intermediates: [vendor.issuing],
    allowed: new Set<string>(),
    manufacturers: new Set<string>(),
    revoked: new Set<string>(),
    ...changes(vendor),
  },
});

for (const ek of Object.keys(EKS) as (keyof typeof EKS)[]) {
  void t.test(`takes in a device with a ${ek} endorsement key, pending until it is approved`, async (t) => {
    const lab = await Lab.start(t);
    const tpm = new LyingTpm({ ek });
    const begun = await lab.startBody(tpm, 'pc-1');
    await lab.attestor.finishEnrolment(lab.finishBody(tpm, begun, begin(lab, begun)));
    const record = lab.devices.require('pc-1');
    t.match(record, {
      state: 'pending',
      epoch: 1,
      software: false,
      manufacturer: 'id:54455354',
      class: 'endpoint',
    });
    t.throws(() => lab.attestor.challenge({ device: record.id }, lab), denied('evidence.device_inactive'));
    await t.rejects(
      lab.attestor.administer('pc-1', 'approve', { class: 'node', gateway: undefined }),
      denied('admin.state'),
    );
    await lab.attestor.administer('pc-1', 'approve', { class: 'node', gateway: 'gw.a11.tw.troad.example' });
    boot(tpm);
    t.ok(await lab.attest(tpm, record.id));
    await t.rejects(lab.attestor.administer('pc-1', 'approve'), denied('admin.state'));
  });
}

/** The EK's certificate with one thing wrong. */
const certificates: readonly (readonly [string, EkCertificateChanges, RefusedCode])[] = [
  ['2 expired', { notAfter: Date.UTC(2026, 10, 21) }, 'ek.not_in_time'],
  ['2 not valid yet', { notBefore: Date.UTC(2027, 0, 1) }, 'ek.not_in_time'],
  ['signed with SHA-1', { sha1: true }, 'ek.chain'],
  ['4 a CA certificate', { isCa: true }, 'ek.is_ca'],
  ['5 no EK usage', { usages: ['1.3.6.1.5.5.7.3.2'] }, 'ek.usage'],
  ['5 signing instead of key agreement', { flags: 'digitalSignature' }, 'ek.usage'],
  ['6 no model', { names: { '2.23.133.2.1': 'id:54455354', '2.23.133.2.3': 'id:0001' } }, 'ek.vendor'],
  ['6 no TPM named', { names: { '2.5.4.3': 'TPM' } }, 'ek.vendor'],
  ['7 an unknown critical extension', { critical: '1.3.6.1.4.1.99999.1' }, 'ek.critical'],
];
for (const [what, changes, code] of certificates) {
  void t.test(`refuses an EK certificate: ${what}`, async (t) => {
    const lab = await Lab.start(t);
    const tpm = new LyingTpm();
    const leaf = await lab.vendor.certify(tpm.ek.area.publicKey, changes);
    const body = await lab.startBody(tpm, 'pc-1', { ekCertificates: [base64url(leaf)] });
    t.throws(() => begin(lab, body), denied(code));
    t.ok(begin(lab, await lab.startBody(tpm, 'pc-1')));
  });
}

void t.test('refuses EK certificates of nobody we know', async (t) => {
  const lab = await Lab.start(t);
  const tpm = new LyingTpm();
  const start = async (ekCertificates: readonly Uint8Array[]) =>
    begin(lab, await lab.startBody(tpm, 'pc-1', { ekCertificates: ekCertificates.map(base64url) }));
  const other = await EkAuthority.create('Somebody Else', lab.time.now);
  const foreign = await other.certify(tpm.ek.area.publicKey);
  await t.rejects(start([foreign]), denied('ek.chain'), '1 another root');
  await t.rejects(
    start([foreign, other.issuing, other.root]),
    denied('ek.chain'),
    '1 which it brought along',
  );
  const impostor = await EkAuthority.create('Lying TPMs Inc', lab.time.now);
  const copied = await impostor.certify(tpm.ek.area.publicKey);
  await t.rejects(start([copied, impostor.issuing, impostor.root]), denied('ek.chain'), '1 of the same name');
  await t.rejects(start([]), denied('ek.certificate'));
  await t.rejects(start([Buffer.from('3003020100', 'hex')]), denied('ek.certificate'));
  const mine = await lab.vendor.certify(tpm.ek.area.publicKey);
  for (let length = 0; length < mine.length; length += 13) {
    await t.rejects(start([mine.subarray(0, length)]), denied('ek.certificate'), `${length} bytes`);
  }
  await t.rejects(start([mine, ...Array.from({ length: 7 }, () => lab.vendor.issuing)]), {
    name: 'MalformedBytes',
  });
  await t.rejects(start([mine, mine, Buffer.of(1)]), denied('ek.certificate'));
});

void t.test('the chain', async (t) => {
  const tpm = new LyingTpm();
  const bare = await Lab.start(
    t,
    trusting(() => ({ intermediates: [] })),
  );
  const body = await bare.startBody(tpm, 'pc-1');
  t.throws(() => begin(bare, body), denied('ek.chain'), '3 the intermediate is missing');
  const leaf = await bare.vendor.certify(tpm.ek.area.publicKey);
  t.ok(
    begin(bare, { ...body, ekCertificates: [leaf, bare.vendor.issuing].map(base64url) }),
    'the device may bring it',
  );
  bare.wait(3651 * DAY);
  const late = await bare.vendor.certify(tpm.ek.area.publicKey, { notAfter: bare.time.now + DAY });
  t.throws(
    () => begin(bare, { ...body, ekCertificates: [late, bare.vendor.issuing].map(base64url) }),
    denied('ek.not_in_time'),
    'an authority that has expired',
  );
});

void t.test('8, 11, 12 who is let in', async (t) => {
  const tpm = new LyingTpm();
  const fingerprint = base64url(sha256(tpm.ek.area.publicKey.export({ type: 'spki', format: 'der' })));
  const start = async (t: T, changes: (vendor: EkAuthority) => Partial<EkTrust>) => {
    const lab = await Lab.start(t, trusting(changes));
    const body = await lab.startBody(tpm, 'pc-1');
    return () => begin(lab, body);
  };
  const serial = (vendor: EkAuthority): string => `${base64url(sha256(vendor.issuing))}/2a`;
  t.throws(await start(t, (vendor) => ({ revoked: new Set([serial(vendor)]) })), denied('ek.revoked'));
  t.throws(
    await start(t, (vendor) => ({ revoked: new Set([base64url(sha256(vendor.issuing))]) })),
    denied('ek.revoked'),
  );
  t.ok((await start(t, (vendor) => ({ revoked: new Set([`${serial(vendor)}b`]) })))());
  t.throws(await start(t, () => ({ allowed: new Set(['x']) })), denied('ek.not_allowed'));
  t.ok((await start(t, () => ({ allowed: new Set([fingerprint]) })))());
  t.throws(await start(t, () => ({ manufacturers: new Set(['id:494E5443']) })), denied('ek.vendor'));
  t.ok((await start(t, () => ({ manufacturers: new Set(['id:54455354']) })))());
  const lab = (vendor: EkAuthority) => ({ roots: [], testRoots: [vendor.root] });
  t.throws(await start(t, lab), denied('ek.test_root'));
  t.ok((await start(t, (vendor) => ({ ...lab(vendor), softwareTpms: true })))());
});

void t.test('an authority that may have none below it', async (t) => {
  for (const [pathLength, taken] of [
    [undefined, true],
    [0, false],
    [1, true],
  ] as const) {
    const lab = await Lab.start(t);
    const vendor = await EkAuthority.create('Vendor', lab.time.now, pathLength);
    const below = await vendor.below('Customer');
    const on = await Lab.start(
      t,
      trusting(() => ({ roots: [vendor.root], intermediates: [vendor.issuing] })),
    );
    const tpm = new LyingTpm();
    const leaf = await below.certify(tpm.ek.area.publicKey);
    const body = await on.startBody(tpm, 'pc-1', { ekCertificates: [leaf, below.issuing].map(base64url) });
    if (taken) t.ok(begin(on, body), `path length ${pathLength}`);
    else t.throws(() => begin(on, body), denied('ek.chain'));
    const direct = await vendor.certify(tpm.ek.area.publicKey);
    t.ok(begin(on, { ...body, ekCertificates: [base64url(direct)] }));
  }
});

void t.test(
  'an authority whose certificate was renewed: the expired one beside it does no harm',
  async (t) => {
    const tpm = new LyingTpm();
    const lab = await Lab.start(t, (vendor) => trusting(() => ({ intermediates: [] }))(vendor));
    const former = await lab.vendor.former('Lying TPMs Inc');
    const leaf = await lab.vendor.certify(tpm.ek.area.publicKey);
    const start = async (...brought: Uint8Array[]) =>
      begin(lab, await lab.startBody(tpm, 'pc-1', { ekCertificates: [leaf, ...brought].map(base64url) }));
    await t.rejects(start(former), denied('ek.not_in_time'), '2 it alone');
    t.ok(await start(former, lab.vendor.issuing));
    t.ok(await start(lab.vendor.issuing, former));
  },
);

void t.test('the key of the certificate is the key of the TPM', async (t) => {
  const lab = await Lab.start(t);
  const tpm = new LyingTpm();
  const other = lyingKey(EK_P256).area;
  const leaf = await lab.vendor.certify(tpm.ek.area.publicKey);
  t.throws(() => begin(lab, bodyOf(tpm, leaf, other.raw)), denied('ek.key_mismatch'), '9');
  for (const [what, template] of [
    ['10 unrestricted', { ...EK_P256, attributes: EK_P256.attributes & ~ATTRIBUTE.restricted }],
    ['10 signs', { ...EK_P256, attributes: EK_P256.attributes | ATTRIBUTE.sign }],
    ['10 named with SHA-1', { ...EK_P256, nameAlg: HASH.sha1, authPolicy: Buffer.alloc(20) }],
    ['10 may leave', { ...EK_P256, attributes: EK_P256.attributes & ~ATTRIBUTE.fixedTpm }],
  ] as const) {
    const ek = lyingKey(template);
    const certificate = await lab.vendor.certify(ek.area.publicKey);
    t.throws(() => begin(lab, bodyOf(tpm, certificate, ek.area.raw)), denied('ek.template'), what);
  }
});

const bodyOf = (tpm: LyingTpm, certificate: Uint8Array, ek: Uint8Array) => ({
  ekCertificates: [base64url(certificate)],
  ek: base64url(ek),
  ak: base64url(tpm.ak.area.raw),
  bindingKey: base64url(tpm.binding.area.raw),
  name: 'pc-1',
});

const { restricted, fixedTpm, fixedParent, sensitiveDataOrigin, decrypt, sign } = ATTRIBUTE;
for (const [what, template, code] of [
  ['18 a software key', { ...AK_P256, attributes: sign | ATTRIBUTE.userWithAuth }, 'enrol.ak_attributes'],
  ['19 unrestricted', { ...AK_P256, attributes: AK_P256.attributes & ~restricted }, 'enrol.ak_attributes'],
  ['19 without fixedTPM', { ...AK_P256, attributes: AK_P256.attributes & ~fixedTpm }, 'enrol.ak_attributes'],
  [
    '19 without fixedParent',
    { ...AK_P256, attributes: AK_P256.attributes & ~fixedParent },
    'enrol.ak_attributes',
  ],
  [
    '19 imported',
    { ...AK_P256, attributes: AK_P256.attributes & ~sensitiveDataOrigin },
    'enrol.ak_attributes',
  ],
  ['19 decrypts, too', { ...AK_P256, attributes: AK_P256.attributes | decrypt }, 'enrol.ak_attributes'],
  ['19 does not sign', { ...AK_P256, attributes: AK_P256.attributes & ~sign }, 'enrol.ak_attributes'],
  ['20 SHA-1', { ...AK_P256, scheme: { alg: ALG.ecdsa, hash: HASH.sha1 } }, 'enrol.ak_scheme'],
  ['20 ECDH', { ...AK_P256, scheme: { alg: ALG.ecdh, hash: HASH.sha256 } }, 'enrol.ak_scheme'],
  ['20 a Name with SHA-1', { ...AK_P256, nameAlg: HASH.sha1 }, 'enrol.ak_scheme'],
] as const) {
  void t.test(`refuses an attestation key: ${what}`, async (t) => {
    const lab = await Lab.start(t);
    const tpm = new LyingTpm();
    tpm.ak = lyingKey(template);
    const body = await lab.startBody(tpm, 'pc-1');
    t.throws(() => begin(lab, body), denied(code));
  });
}

void t.test('20 refuses an attestation key without a scheme', async (t) => {
  const lab = await Lab.start(t);
  const tpm = new LyingTpm();
  const { scheme, ...open } = AK_P256;
  t.ok(scheme);
  tpm.ak = lyingKey(open);
  t.throws(await lazily(lab, tpm), denied('enrol.ak_scheme'));
});

const lazily = async (lab: Lab, tpm: LyingTpm) => {
  const body = await lab.startBody(tpm, 'pc-1');
  return () => begin(lab, body);
};

for (const [what, template, code] of [
  [
    'restricted',
    { ...BINDING_P256, attributes: BINDING_P256.attributes | restricted },
    'enrol.binding_attributes',
  ],
  [
    'without fixedTPM',
    { ...BINDING_P256, attributes: BINDING_P256.attributes & ~fixedTpm },
    'enrol.binding_attributes',
  ],
  ['RSA', { ...AKS.rsassa, attributes: BINDING_P256.attributes }, 'enrol.ak_scheme'],
] as const) {
  void t.test(`refuses a binding key: ${what}`, async (t) => {
    const lab = await Lab.start(t);
    const tpm = new LyingTpm();
    tpm.binding = lyingKey(template);
    t.throws(await lazily(lab, tpm), denied(code));
  });
}

/** The second message with one thing wrong. */
const finishes: readonly (readonly [string, (tpm: LyingTpm) => FinishChanges, RefusedCode])[] = [
  ['13 another secret', () => ({ secret: Buffer.alloc(32) }), 'enrol.proof'],
  ['an empty proof', () => ({ proof: Buffer.alloc(0) }), 'enrol.proof'],
  ['22 certify of another key', (tpm) => ({ attest: (data) => tpm.certifyBytes(lyingKey(BINDING_P256).area, data) }), 'enrol.certify'],
  ['23 a quote presented as certify', (tpm) => ({ attest: (data) => tpm.quoteBytes(data, []) }), 'enrol.certify'],
  ['certify for another enrolment', (tpm) => ({ attest: () => tpm.certifyBytes(tpm.binding.area, sha256('x')) }), 'enrol.certify'],
  ['certify by the binding key itself', (tpm) => ({ sign: (attest) => tpm.sign(attest, tpm.binding) }), 'enrol.certify'],
  ['24 attestation key of another TPM', (tpm) => ({ attest: (data) => tpm.certifyBytes(tpm.binding.area, data, { qualifiedSigner: new LyingTpm().akQualifiedName }) }), 'enrol.certify'],
  ['a trailing byte', (tpm) => ({ attest: (data) => tpm.certifyBytes(tpm.binding.area, data, { tail: Buffer.of(0) }) }), 'enrol.certify'],
]; // prettier-ignore
for (const [what, changes, code] of finishes) {
  void t.test(`refuses to finish: ${what}`, async (t) => {
    const lab = await Lab.start(t);
    const tpm = new LyingTpm();
    const begun = await lab.startBody(tpm, 'pc-1');
    const bad = lab.finishBody(tpm, begun, begin(lab, begun), changes(tpm));
    await t.rejects(lab.attestor.finishEnrolment(bad), denied(code));
    await t.rejects(lab.attestor.finishEnrolment(bad), denied('enrol.unknown'), 'one try a credential');
    t.equal(lab.devices.all().length, 0);
  });
}

void t.test('15, 16, 17 an enrolment is finished once, soon, by the one that began it', async (t) => {
  const lab = await Lab.start(t);
  const [tpm, other] = [new LyingTpm(), new LyingTpm()];
  const begun = await lab.startBody(tpm, 'pc-1');
  const answer = begin(lab, begun);
  const finish = lab.finishBody(tpm, begun, answer);
  const theirs = await lab.startBody(other, 'pc-2');
  const stolen = { ...lab.finishBody(other, theirs, begin(lab, theirs)), proof: finish['proof'] };
  await t.rejects(
    lab.attestor.finishEnrolment(stolen),
    denied('enrol.proof'),
    '15 proof of another enrolment',
  );
  await lab.attestor.finishEnrolment(finish);
  await t.rejects(lab.attestor.finishEnrolment(finish), denied('enrol.unknown'), '17');
  const late = await lab.startBody(other, 'pc-2');
  const slow = lab.finishBody(other, late, begin(lab, late));
  lab.wait(60_001);
  await t.rejects(lab.attestor.finishEnrolment(slow), denied('enrol.expired'), '16');
});

void t.test(
  'a stranger with a copied certificate holds one place a connection, as long as it lasts',
  async (t) => {
    const lab = await Lab.start(t);
    const tpm = new LyingTpm();
    const body = await lab.startBody(tpm, 'pc-1');
    const [first, second, third] = [{}, {}, {}];
    const begun = (connection: object) =>
      lab.finishBody(tpm, body, lab.attestor.startEnrolment(body, connection) as StartAnswer); // what it answers
    const [given, ended, open] = [begun(first), begun(second), begun(third)];
    begun(first);
    lab.attestor.closed(second);
    await t.rejects(lab.attestor.finishEnrolment(given), denied('enrol.unknown'), 'given up for another');
    await t.rejects(lab.attestor.finishEnrolment(ended), denied('enrol.unknown'), 'its connection has ended');
    await lab.attestor.finishEnrolment(open);
    t.match(lab.devices.require('pc-1'), { state: 'pending' });
  },
);

void t.test('21, 25 whose keys are whose', async (t) => {
  const lab = await Lab.start(t);
  const [tpm, other] = [new LyingTpm(), new LyingTpm()];
  await lab.enrol(tpm);
  t.throws(await lazily(lab, tpm), denied('enrol.ak_taken'), 'the same keys again');
  const first = tpm.ak;
  tpm.ak = lyingKey(AK_P256);
  t.throws(await lazily(lab, tpm), denied('enrol.device_exists'), '25 new keys of a known TPM');
  t.throws(await lazily(lab, other), denied('enrol.name_taken'), '12 its name, by another TPM');
  other.ak = first;
  const body = await lab.startBody(other, 'pc-2');
  t.throws(() => begin(lab, body), denied('enrol.ak_taken'), '21 its key, in another TPM');

  await lab.attestor.administer('pc-1', 're-enrol');
  const before = lab.attestor.sequence;
  const again = await lab.enrol(tpm);
  t.equal(again.epoch, 2);
  t.ok(lab.attestor.sequence > before, 'results of the former keys are taken back');
  tpm.ak = lyingKey(AK_P256);
  t.throws(await lazily(lab, tpm), denied('enrol.device_exists'), 'allowed once');
});

void t.test('12 two enrolments at once have one winner', async (t) => {
  const lab = await Lab.start(t);
  const [tpm, other] = [new LyingTpm(), new LyingTpm()];
  const bodies = [await lab.startBody(tpm, 'pc-1'), await lab.startBody(other, 'pc-1')] as const;
  const first = lab.finishBody(tpm, bodies[0], begin(lab, bodies[0]));
  const second = lab.finishBody(other, bodies[1], begin(lab, bodies[1]));
  const ends = await Promise.allSettled([
    lab.attestor.finishEnrolment(first),
    lab.attestor.finishEnrolment(second),
  ]);
  t.same(
    ends.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
  t.equal(lab.devices.all().length, 1);
});

void t.test('a device that is expected is active at once, under its name only', async (t) => {
  const tpm = new LyingTpm();
  const ek = base64url(sha256(tpm.ek.area.publicKey.export({ type: 'spki', format: 'der' })));
  const expected = [{ ek, name: 'node-a', class: 'node', gateway: 'gw.a11.tw.troad.example' }] as const;
  const lab = await Lab.start(t, () => ({ expected }));
  t.throws(await lazily(lab, tpm), denied('enrol.name_taken'));
  const record = await lab.enrol(tpm, 'node-a');
  t.match(record, { state: 'active', class: 'node', gateway: 'gw.a11.tw.troad.example', id: ek });
  const stranger = await lab.startBody(new LyingTpm(), 'node-a');
  t.throws(() => begin(lab, stranger), denied('enrol.name_taken'));
});

void t.test('messages that are none', async (t) => {
  const lab = await Lab.start(t);
  const tpm = new LyingTpm();
  const good = await lab.startBody(tpm, 'pc-1');
  for (const [what, changes] of [
    ['a name with a slash', { name: 'a/b' }],
    ['a name like a path', { name: '../x' }],
    ['no name', { name: undefined }],
    ['loose base64', { ak: `${String(good['ak'])}=` }],
    ['one member more', { role: 'node' }],
    ['certificates that are no list', { ekCertificates: 'x' }],
  ] as const) {
    t.throws(() => begin(lab, { ...good, ...changes }), { name: 'MalformedBytes' }, what);
  }
  t.throws(
    () => begin(lab, { ...good, ak: base64url(tpm.ak.area.raw.subarray(1)) }),
    denied('enrol.key_malformed'),
  );
});

void t.test('reads an RSA EK certificate, also with a key that says RSAES-OAEP', async (t) => {
  const authority = await EkAuthority.create('x', Date.UTC(2026, 10, 22));
  const { area } = lyingKey(EK_RSA);
  const der = await authority.certify(area.publicKey);
  const { key } = area;
  t.same(readEkCertificate(der).key, key.type === 'rsa' && key.modulus);
  const at = der.indexOf(Buffer.from('2a864886f70d010101', 'hex'));
  der.writeUInt8(7, at + 8);
  t.same(readEkCertificate(der).key, key.type === 'rsa' && key.modulus);
});
