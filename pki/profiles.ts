import type { CertificateContent } from '../gateway/x509/build.ts';

export const DAY_MS = 86_400_000;

export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

/** What a kind of certificate has in common; key, names and dates come per certificate. */
export interface Profile extends Pick<
  CertificateContent,
  'keyUsage' | 'extendedKeyUsage' | 'caPathLength' | 'policies'
> {
  readonly days: number;
}

const CA_USAGE = ['keyCertSign', 'cRLSign'] as const;

export const PROFILES = {
  root: { keyUsage: CA_USAGE, extendedKeyUsage: [], caPathLength: 1, days: 3650 },
  // No certificate authority below this one. The usages bound what its leaves can be good for.
  issuing: { keyUsage: CA_USAGE, extendedKeyUsage: [CLIENT_AUTH, SERVER_AUTH], caPathLength: 0, days: 1095 },
  // One certificate for both ends of the link: a gateway connects and is connected to under the same name.
  link: { keyUsage: ['digitalSignature'], extendedKeyUsage: [CLIENT_AUTH, SERVER_AUTH], days: 90 },
  client: { keyUsage: ['digitalSignature'], extendedKeyUsage: [CLIENT_AUTH], days: 365 },
  server: { keyUsage: ['digitalSignature'], extendedKeyUsage: [SERVER_AUTH], days: 365 },
  // Keys of a device's TPM (TCG, TPM 2.0 Keys for Device Identity and Attestation, §7.3, §8): what the enrolment has
  // verified stands in the policies, residency in the TPM, fixed to it, and for attestation keys restricted.
  attestationKey: {
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['2.23.133.8.3'],
    policies: ['2.23.133.11.1.1', '2.23.133.11.1.2', '2.23.133.11.1.3'],
    days: 365,
  },
  deviceKey: {
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: [CLIENT_AUTH],
    policies: ['2.23.133.11.1.1', '2.23.133.11.1.2'],
    days: 365,
  },
} as const satisfies Record<string, Profile>;
