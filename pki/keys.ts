import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { open } from 'node:fs/promises';
import { readFileSync, statSync } from 'node:fs';
import { naming, requireFile } from '../gateway/core/file-errors.ts';
import { parsePrivateKey } from '../gateway/x509/key-file.ts';

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** `p256` for link and message keys, `ed25519` for message and log keys. */
export type KeyKind = 'p256' | 'ed25519';

export function generateKeyPair(kind: KeyKind): KeyPair {
  return kind === 'p256'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('ed25519');
}

/** PKCS#8 PEM of a private key, unencrypted: the file's permissions protect it. */
export const privateKeyPem = (key: KeyObject): string =>
  key.export({ type: 'pkcs8', format: 'pem' }).toString();

/**
 * Writes a private key that only its owner can read. Never overwrites: a key that is gone cannot be had again.
 * @throws the EEXIST of the operating system when there is a file
 */
export async function writePrivateKey(path: string, key: KeyObject): Promise<void> {
  // The mode is given at creation, so that there is no moment at which others could open the file.
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(privateKeyPem(key));
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Reads a PKCS#8 private key.
 * @throws Error when the file is readable for others than its owner; ConfigError when it holds no such key
 */
export function readPrivateKey(path: string): KeyObject {
  const found = statSync(path);
  return naming(path, () => {
    requireFile(path, found);
    const mode = found.mode & 0o777;
    if (found.isFile() && (mode & 0o077) !== 0)
      throw new Error(`${path}: private key has mode ${mode.toString(8)}, expected 600`);
    return parsePrivateKey(readFileSync(path));
  });
}
