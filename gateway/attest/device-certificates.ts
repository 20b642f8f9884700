import { randomBytes, type KeyObject } from 'node:crypto';
import { DAY_MS, PROFILES } from '../../pki/profiles.ts';
import type { EpochMs } from '../core/clock.ts';
import { parsePublic } from '../tpm/public.ts';
import { buildCertificate } from '../x509/build.ts';
import { formatPem } from '../x509/pem.ts';
import type { DeviceRecord } from './devices.ts';

/** An authority for the keys of devices, and for nothing else. */
export interface DeviceCa {
  /** DER. */
  readonly certificate: Uint8Array;
  readonly privateKey: KeyObject;
}

/** Certificates of a device's two keys, PEM. For other systems: gateways go by attestation results. */
export interface DeviceCertificates {
  readonly attestationKey: string;
  readonly deviceKey: string;
}

/** What was proved at enrolment, as certificates that name the device by its endorsement key. */
export async function certifyKeys(
  { id, name, ak, bindingKey }: DeviceRecord,
  ca: DeviceCa | undefined,
  now: EpochMs,
): Promise<DeviceCertificates | null> {
  if (ca === undefined) return null;
  const certify = async (profile: 'attestationKey' | 'deviceKey', area: string): Promise<string> => {
    const { days, ...content } = PROFILES[profile];
    const serial = randomBytes(16);
    serial.writeUInt8((serial.readUInt8(0) & 0x7f) | 0x40); // positive, and never shorter
    const der = await buildCertificate(
      {
        ...content,
        subject: { commonName: name },
        names: { uri: [`urn:troad:device:${id}`] },
        serial: serial.toString('hex'),
        notBefore: now,
        notAfter: now + days * DAY_MS,
        publicKey: parsePublic(Buffer.from(area, 'base64url')).publicKey,
      },
      ca,
    );
    return formatPem('CERTIFICATE', der);
  };
  return {
    attestationKey: await certify('attestationKey', ak),
    deviceKey: await certify('deviceKey', bindingKey),
  };
}
