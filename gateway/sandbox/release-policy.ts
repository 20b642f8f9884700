import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { base64url, sha256 } from '../core/bytes.ts';
import type { EpochMs } from '../core/clock.ts';
import { formatRelease, parseRelease, signRelease, type Release } from '../trust/release.ts';

const DAY_MS = 86_400_000;
const LIFE_MS = 90 * DAY_MS;
/** What would expire sooner is released anew. */
const LEFT_MS = 30 * DAY_MS;

/** What the gateways of the sandbox are told about their policy. */
export interface PolicySettings {
  readonly bundle: string;
  /** PEM files. */
  readonly signers: readonly string[];
}

/** Releases the policy as two people would, each with a key of one's own, into a folder of the sandbox. */
export async function releasePolicy(dir: string, from: string, now: EpochMs): Promise<PolicySettings> {
  const folder = join(dir, 'policy');
  const bundle = join(folder, 'bundle');
  await mkdir(bundle, { recursive: true });
  const signers = await Promise.all(['anna', 'bert'].map((name) => signerOf(folder, name)));
  for (const file of ['policy.wasm', 'data.json', 'manifest.json'])
    await cp(join(from, file), join(bundle, file));
  const digest = base64url(sha256(await readFile(join(bundle, 'manifest.json'))));
  const file = join(bundle, 'release.json');
  const before = await readFile(file).then(parseRelease, () => undefined);
  if (before?.bundle !== digest || before.expiresAt < now + LEFT_MS) {
    const notBefore = Math.floor(now / 1000) * 1000;
    const statement = {
      bundle: digest,
      version: (before?.version ?? 0) + 1,
      notBefore,
      expiresAt: notBefore + LIFE_MS,
    };
    const release = signers.reduce<Release>((signed, { key }) => signRelease(statement, key, signed), {
      ...statement,
      signatures: [],
    });
    await writeFile(file, formatRelease(release));
  }
  return { bundle, signers: signers.map(({ pem }) => pem) };
}

/** A signer's key, the same at each start. @returns it, and the file of its public half */
async function signerOf(folder: string, name: string): Promise<{ key: KeyObject; pem: string }> {
  const path = join(folder, `${name}.key`);
  const pem = join(folder, `${name}.pem`);
  const key = await readFile(path).then(
    (text) => createPrivateKey(text),
    () => generateKeyPairSync('ed25519').privateKey,
  );
  await writeFile(path, key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  await writeFile(pem, createPublicKey(key).export({ type: 'spki', format: 'pem' }));
  return { key, pem };
}
