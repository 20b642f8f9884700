import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { MalformedBytes } from '../core/errors.ts';

/** A private key in PEM, not encrypted. @throws MalformedBytes telling what is there instead: OpenSSL's words help nobody */
export function parsePrivateKey(pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new MalformedBytes(instead(pem, 'private key'), { cause });
  }
}

/** A public key in PEM. @throws MalformedBytes telling what is there instead */
export function parsePublicKey(pem: Buffer): KeyObject {
  try {
    // Node would take a private key, too, and the secret would lie where public keys are looked after.
    if (labelOf(pem)?.endsWith('PRIVATE KEY') === true) throw new Error('private');
    return createPublicKey(pem);
  } catch (cause) {
    throw new MalformedBytes(instead(pem, 'public key'), { cause });
  }
}

const labelOf = (pem: Buffer): string | undefined =>
  /-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(pem.toString('latin1'))?.[1];

function instead(pem: Buffer, wanted: string): string {
  const label = labelOf(pem);
  if (label === undefined) return `holds no ${wanted} in PEM  檔案中沒有 PEM 格式的金鑰`;
  if (label.startsWith('ENCRYPTED'))
    return 'the key is encrypted: decrypt it (openssl pkey), and let nobody else read the file  金鑰已加密，請先解密';
  if (label.endsWith(wanted.toUpperCase())) return `the ${wanted} in it is damaged  金鑰已損毀`;
  return `expected a ${wanted}, found ${label}  檔案內容不是所需的金鑰`;
}
