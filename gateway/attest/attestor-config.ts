import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { base64url, sha256, view } from '../core/bytes.ts';
import { ConfigError, MalformedBytes } from '../core/errors.ts';
import { naming } from '../core/file-errors.ts';
import { parsePrivateKey } from '../x509/key-file.ts';
import { parsePem } from '../x509/pem.ts';
import type { DeviceCa } from './device-certificates.ts';
import type { EkTrust } from './ek-chain.ts';
import { type ExpectedDevice, NAME } from './enrolment.ts';
import { type AppraisalPolicy, parsePolicy } from './policy.ts';
import { parseObject, Shape } from './shape.ts';

export interface AttestorConfig {
  /** `iss` of results: the service's name. */
  readonly issuer: string;
  readonly host: string;
  readonly port: number;
  readonly cert: Buffer;
  readonly key: Buffer;
  /** ECDSA P-256; signs results and lists of revocations. */
  readonly signingKey: KeyObject;
  /** Names the signing key in tokens: SHA-256 of its public half, base64url. */
  readonly kid: string;
  readonly deviceCa: DeviceCa | undefined;
  readonly stateDir: string;
  /** Path of the administrator's Unix socket; undefined: `admin.sock` in the state folder. */
  readonly adminSocket: string | undefined;
  readonly trust: EkTrust;
  readonly expected: readonly ExpectedDevice[];
  readonly policy: AppraisalPolicy;
}

/** @returns content of a file, given its path as the configuration spells it */
export type ReadFile = (path: string) => Buffer;

const PATH = /^[^\0]{1,1000}$/;
const HOST = /^[a-z0-9.-]{1,253}$/;
const FINGERPRINT = /^[A-Za-z0-9_-]{43}$/;

/**
 * Reads the configuration of the attestation service, and every file it names.
 * @param bytes JSON
 * @throws MalformedBytes, ConfigError; what is wrong with a file that it names has that file's name
 */
export function parseAttestorConfig(bytes: Uint8Array, read: ReadFile): AttestorConfig {
  const file = parseObject(bytes, 'configuration');
  const parsed = Shape.read(file, (shape) => ({
    issuer: shape.text('issuer', HOST),
    ...shape.object('listen', (listen) => ({
      host: listen.text('host', /^[0-9A-Za-z.:-]{1,253}$/),
      port: listen.integer('port', 0, 65_535),
    })),
    cert: shape.text('cert', PATH),
    key: shape.text('key', PATH),
    signingKey: shape.text('signingKey', PATH),
    deviceCa: shape.has('deviceCa')
      ? shape.object('deviceCa', (ca) => ({ cert: ca.text('cert', PATH), key: ca.text('key', PATH) }))
      : undefined,
    stateDir: shape.text('stateDir', PATH),
    adminSocket: shape.has('adminSocket') ? shape.text('adminSocket', PATH) : undefined,
    policy: shape.text('policy', PATH),
    trust: shape.object('trust', (trust) => ({
      roots: trust.texts('roots', PATH),
      intermediates: trust.texts('intermediates', PATH),
      manufacturers: trust.texts('manufacturers', /^id:[0-9A-F]{8}$/),
      allowed: trust.texts('allowed', FINGERPRINT),
      revoked: trust.texts('revoked', /^[A-Za-z0-9_-]{43}(?:\/[0-9a-f]{2,40})?$/),
      // Its presence is the setting: a laboratory, where TPMs may be programs.
      softwareTpmRoots: trust.has('lab_softwareTpmRoots')
        ? trust.texts('lab_softwareTpmRoots', PATH)
        : undefined,
    })),
    expected: shape.objects('expected', (device) => ({
      ek: device.text('ek', FINGERPRINT),
      name: device.text('name', NAME),
      class: device.oneOf('class', ['node', 'endpoint']),
      gateway: device.has('gateway') ? device.text('gateway', HOST) : undefined,
    })),
  }));
  const { trust } = parsed;
  if (trust.roots.length + (trust.softwareTpmRoots?.length ?? 0) === 0) {
    throw new ConfigError(['/trust/roots: needs at least one root of a TPM vendor']);
  }
  const wrong = parsed.expected.filter(
    (device) => (device.class === 'node') !== (device.gateway !== undefined),
  );
  if (wrong.length > 0) {
    throw new ConfigError(
      wrong.map(({ name }) => `/expected: ${name}: a node, and only a node, has a gateway`),
    );
  }
  const inFile = <T>(path: string, parse: (content: Buffer) => T): T => naming(path, () => parse(read(path)));
  const certificates = (paths: readonly string[]): readonly Buffer[] =>
    paths.flatMap((path) => inFile(path, certificatesOf));
  const certified = ({ cert, key }: Certified, at: string): DeviceCa => {
    const [certificate] = inFile(cert, certificatesOf);
    const privateKey = inFile(key, parsePrivateKey);
    if (certificate === undefined || !new X509Certificate(certificate).checkPrivateKey(privateKey))
      throw new ConfigError([`${at}: the certificate is not that of the key`]);
    return { certificate, privateKey };
  };
  const signingKey = inFile(parsed.signingKey, signingKeyOf);
  certified(parsed, '/cert'); // before a listener takes them: its words name no file
  return {
    ...parsed,
    cert: read(parsed.cert),
    key: read(parsed.key),
    signingKey,
    kid: base64url(sha256(createPublicKey(signingKey).export({ type: 'spki', format: 'der' }))),
    deviceCa: parsed.deviceCa && certified(parsed.deviceCa, '/deviceCa'),
    trust: {
      roots: certificates(trust.roots),
      intermediates: certificates(trust.intermediates),
      testRoots: certificates(trust.softwareTpmRoots ?? []),
      softwareTpms: trust.softwareTpmRoots !== undefined,
      allowed: new Set(trust.allowed),
      manufacturers: new Set(trust.manufacturers),
      revoked: new Set(trust.revoked),
    },
    policy: inFile(parsed.policy, parsePolicy),
  };
}

/** Paths of a certificate and its key. */
interface Certified {
  readonly cert: string;
  readonly key: string;
}

/** A PEM file with one or more certificates, or one in DER as vendors publish them. @throws ConfigError */
export function certificatesOf(bytes: Buffer): readonly Buffer[] {
  if (bytes[0] === 0x30) return [bytes];
  try {
    const all = parsePem('CERTIFICATE', view(bytes).toString('latin1'));
    if (all.length > 0) return all;
  } catch (cause) {
    if (!(cause instanceof MalformedBytes)) throw cause;
  }
  throw new ConfigError(['holds no certificate in PEM or DER  檔案中沒有憑證']);
}

function signingKeyOf(pem: Buffer): KeyObject {
  const key = parsePrivateKey(pem);
  if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key;
  throw new ConfigError(['is not an ECDSA key on P-256  不是 P-256 的 ECDSA 金鑰']);
}
