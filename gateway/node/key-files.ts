import { X509Certificate, type KeyObject } from 'node:crypto';
import { ConfigError, MalformedBytes } from '../core/errors.ts';
import { naming } from '../core/file-errors.ts';
import { parsePrivateKey, parsePublicKey } from '../x509/key-file.ts';
import { parsePem } from '../x509/pem.ts';
import { contentOf } from './named-file.ts';

// Keys and certificates that the configuration names. What OpenSSL says of a bad one tells neither file nor setting.

/** @param setting that names the file: `/keys/log`. @throws ConfigError */
export const readPrivateKey = (setting: string, file: string): KeyObject =>
  naming(`${setting}: ${file}`, () => parsePrivateKey(contentOf(file)));

/** As {@link readPrivateKey}. */
export const readPublicKey = (setting: string, file: string): KeyObject =>
  naming(`${setting}: ${file}`, () => parsePublicKey(contentOf(file)));

/** As {@link readPublicKey}, in PEM: texts go to other threads. */
export const readPublicPem = (setting: string, file: string): string =>
  readPublicKey(setting, file).export({ type: 'spki', format: 'pem' }).toString();

/**
 * Authorities for TLS, PEM. A file without any would make TLS trust nobody, and say so at the first connection only.
 * @throws ConfigError
 */
export const readAuthorities = (setting: string, file: string): Buffer =>
  naming(`${setting}: ${file}`, () => {
    const pem = contentOf(file);
    certificatesOf(pem);
    return pem;
  });

/** A setting or option, and the file that it names. */
type Named = readonly [setting: string, file: string];

/** What a TLS endpoint shows, PEM: its certificate with the issuers, and the key. @throws ConfigError */
export function readPair(cert: Named, key: Named): { readonly cert: Buffer; readonly key: Buffer } {
  const pem = readAuthorities(...cert);
  const privateKey = readPrivateKey(...key);
  const [leaf] = certificatesOf(pem);
  if (leaf === undefined || !leaf.checkPrivateKey(privateKey))
    throw new ConfigError([`${key.join(': ')}: is not the key of ${cert[1]}  與憑證不符`]);
  return { cert: pem, key: contentOf(key[1]) };
}

/** As {@link readPair}, of a setting with both. */
export const readIdentity = (
  setting: string,
  { cert, key }: { readonly cert: string; readonly key: string },
): ReturnType<typeof readPair> => readPair([`${setting}/cert`, cert], [`${setting}/key`, key]);

/** A bearer token. @throws ConfigError it could not stand in a field */
export const readToken = (setting: string, file: string): string =>
  naming(`${setting}: ${file}`, () => {
    const token = contentOf(file).toString('utf8').trim();
    if (/^[\x21-\x7e]+$/.test(token)) return token;
    throw new ConfigError([
      'expected one line of printable characters without spaces: the token  應為一行不含空白的可列印字元',
    ]);
  });

/** A password or another shared secret. @throws ConfigError */
export const readSecret = (setting: string, file: string, leastCharacters: number): string =>
  naming(`${setting}: ${file}`, () => {
    const secret = contentOf(file).toString('utf8').trim();
    if (secret.length >= leastCharacters) return secret;
    throw new ConfigError([
      secret === ''
        ? 'is empty: write the secret into it  檔案是空的'
        : `holds less than ${leastCharacters} characters: write one (openssl rand -base64 32)  少於 ${leastCharacters} 個字元`,
    ]);
  });

function certificatesOf(pem: Buffer): X509Certificate[] {
  const blocks = parsePem('CERTIFICATE', pem.toString('latin1'));
  if (blocks.length === 0) throw new MalformedBytes('holds no certificate in PEM  檔案中沒有 PEM 格式的憑證');
  return blocks.map((der) => {
    try {
      return new X509Certificate(der);
    } catch (cause) {
      throw new MalformedBytes('a certificate in it is damaged  憑證已損毀', { cause });
    }
  });
}
