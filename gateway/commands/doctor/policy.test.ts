import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { base64url, sha256 } from '../../core/bytes.ts';
import { readBundle } from '../../node/bundle-folder.ts';
import { PolicyStore, writeBundle } from '../../node/policy-store.ts';
import { bundleDir } from '../../sandbox/bundle.ts';
import { formatRelease, signRelease, type Release } from '../../trust/release.ts';
import { Report } from './finding.ts';
import { checkPolicy } from './policy.ts';

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2026, 10, 1);
const people = [1, 2].map(() => generateKeyPairSync('ed25519').privateKey);
const content = readBundle(bundleDir());
const digest = base64url(sha256(content.manifest));

/** The policy that comes with the program, released by both. */
function released(days: number, version = 1) {
  const statement = { bundle: digest, version, notBefore: NOW - DAY_MS, expiresAt: NOW + days * DAY_MS };
  let release: Release | undefined;
  for (const key of people) release = signRelease(statement, key, release);
  if (release === undefined) throw new Error('nobody signed');
  return { ...content, release: Buffer.from(formatRelease(release)) };
}

async function findings(
  t: Test,
  {
    bundle = released(90),
    signers = 2,
    threshold = signers,
    prepare = () => undefined,
  }: {
    readonly bundle?: typeof content;
    readonly signers?: number;
    readonly threshold?: number;
    readonly prepare?: (store: string, signer: string) => unknown;
  },
): Promise<string[]> {
  const dir = t.testdir();
  const [folder, store] = [join(dir, 'bundle'), join(dir, 'store')];
  writeBundle(folder, bundle, false);
  const files = people.slice(0, signers).map((key, i) => {
    const file = join(dir, `${i}.pem`);
    writeFileSync(file, createPublicKey(key).export({ type: 'spki', format: 'pem' }));
    return file;
  });
  prepare(store, files[0] ?? '');
  const report = new Report();
  await checkPolicy(
    report,
    { policy: { bundle: folder, store, signers: files, threshold, shadow: [] } },
    NOW,
  );
  t.ok(report.findings.every(({ level, advice }) => level === 'ok' || (advice ?? '') !== ''));
  return report.findings.map(({ level, subject, what }) => `${level} ${subject}: ${what}`);
}

void t.test('all is well', async (t) => {
  t.match(await findings(t, {}), [
    'ok policy signers: 2 of 2 have to sign',
    /ok policy store: .* none yet/,
    `SHA-256 ${digest}`,
    /ok policy release: version 1, expires .* \(90 days\)/,
  ]);
});

void t.test('signers', async (t) => {
  const said = async (given: Parameters<typeof findings>[1]) => (await findings(t, given)).join('\n');
  t.match(await said({ signers: 0, bundle: content }), /warn policy signers: nobody has to sign/);
  t.match(await said({ threshold: 1 }), /warn policy signers: 1 of 2 is enough/);
  t.match(await said({ prepare: (_, signer) => writeFileSync(signer, 'no key') }), /^bad policy signers: /);
  t.match(await said({ bundle: content }), /bad policy bundle: .*bundle\.unsigned/);
});

void t.test('the release: about to expire, expired', async (t) => {
  const of = async (days: number) => (await findings(t, { bundle: released(days) })).at(-1);
  t.match(await of(14), /^ok policy release/);
  t.match(await of(13), /^warn policy release: version 1, expires .* \(13 days\)/);
  t.match(await of(-0.5), /^bad policy bundle: .*bundle\.expired/);
});

void t.test('the store: damaged, a quarantine, another bundle in force', async (t) => {
  const damaged = await findings(t, {
    prepare: (dir) => {
      PolicyStore.open(dir);
      writeFileSync(join(dir, 'state.json'), '{}');
    },
  });
  t.match(damaged.join('\n'), /bad policy store: .*is not a state of this version/);
  const held = await findings(t, {
    prepare: (dir) =>
      PolicyStore.open(dir).update({
        version: 2,
        quarantined: [{ bundle: digest, at: NOW, why: 'it overran' }],
      }),
  });
  t.match(held.join('\n'), `warn policy quarantine: ${digest} since 2026-11-01T00:00:00.000Z: it overran`);
  const gone = await findings(t, {
    prepare: (dir) => PolicyStore.open(dir).update({ active: 'A'.repeat(43), version: 2 }),
  });
  t.match(gone.join('\n'), /ok policy bundle: another one is in force, .*bundle\.rollback/);
  t.match(gone.join('\n'), /bad policy in force: /);
});
