// Attestation results as an attestation service signs them, true or not.
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { base64url, sha256 } from '../../gateway/core/bytes.ts';
import type { AttestorKey } from '../../gateway/device/attested-device.ts';
import { bindingMessage } from '../../gateway/device/binding.ts';
import { type EarContent, formatEar } from '../../gateway/device/ear.ts';
import { signToken, type TokenSigner } from '../../gateway/device/token.ts';

export const ISSUER = 'attest.tw.troad.example';
export const AUDIENCE = 'gw.a11.tw.troad.example';
export const NOW = Date.UTC(2026, 10, 22, 9);

const verifier = generateKeyPairSync('ec', { namedCurve: 'P-256' });
export const SIGNER: TokenSigner = { issuer: ISSUER, kid: 'a1', privateKey: verifier.privateKey };
export const KEYS: readonly AttestorKey[] = [
  { issuer: ISSUER, kid: 'a1', publicKey: verifier.publicKey, maxLifeSeconds: 300 },
];

const binding = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { x = '', y = '' } = binding.publicKey.export({ format: 'jwk' });
export const BINDING_PRIVATE: KeyObject = binding.privateKey;
export const BINDING_SPKI = base64url(sha256(binding.publicKey.export({ type: 'spki', format: 'der' })));

export const CONNECTION = {
  certificateSha256: base64url(sha256('certificate')),
  spkiSha256: base64url(sha256('its key')),
  exporter: sha256('exporter'),
};

export const CONTENT: EarContent = {
  issuer: ISSUER,
  audience: AUDIENCE,
  device: 'D'.repeat(43),
  issuedAt: NOW / 1000,
  sequence: NOW,
  expiresAt: NOW / 1000 + 180,
  id: 'r1',
  nonce: 'N'.repeat(43),
  certificate: CONNECTION.certificateSha256,
  bindingKey: { x, y },
  class: 'endpoint',
  gateway: undefined,
  epoch: 1,
  resetCount: 7,
  restartCount: 0,
  policyId: 'urn:troad:appraisal:edge:1@sha256:x',
  tpm: { 'instance-identity': 2, hardware: 2, executables: 3, configuration: 2 },
  health: { os: 2, antivirus: 2, applications: 2, configuration: 2 },
  cves: undefined,
  softwareTpm: false,
};

export function token(changes: Partial<EarContent> = {}): string {
  const content = { ...CONTENT, ...changes };
  const sequence = changes.sequence ?? content.issuedAt * 1000;
  return signToken('ear+jwt', formatEar({ ...content, sequence }), SIGNER);
}

/** Signature of the binding key over a connection, as the device's TPM makes it. */
export const bound = (connection = CONNECTION, key = BINDING_PRIVATE): string =>
  base64url(
    sign('sha256', bindingMessage(connection.exporter, connection.certificateSha256), {
      key,
      dsaEncoding: 'ieee-p1363',
    }),
  );
