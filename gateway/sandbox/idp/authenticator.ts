import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  type KeyObject,
} from 'node:crypto';
import type {
  AuthenticationResponseJSON,
  PublicKeyCredentialCreationOptionsJSON,
  PublicKeyCredentialRequestOptionsJSON,
  RegistrationResponseJSON,
} from '@simplewebauthn/server';

export type EnrolmentOptions = PublicKeyCredentialCreationOptionsJSON;
export type SignInOptions = PublicKeyCredentialRequestOptionsJSON;

// Flags of authenticator data, WebAuthn Level 3 §6.1.
const USER_PRESENT = 0x01;
const USER_VERIFIED = 0x04;
const BACKUP_ELIGIBLE = 0x08;
const BACKED_UP = 0x10;
const ATTESTED = 0x40;

/** What is kept of a passkey between two runs. */
export interface KeptPasskey {
  readonly id: string;
  /** PKCS#8 PEM. */
  readonly privateKey: string;
  readonly synced: boolean;
}

/**
 * An authenticator in software, for scripts and tests: it speaks WebAuthn as a browser would, with a real ES256 key.
 * It claims whatever it is told to; that is why AAL3 outside of a sandbox needs the attestation of the model checked.
 */
export class SoftwarePasskey {
  readonly #id: Buffer;
  readonly #privateKey: KeyObject;
  readonly #synced: boolean;

  private constructor(id: Buffer, privateKey: KeyObject, synced: boolean) {
    this.#id = id;
    this.#privateKey = privateKey;
    this.#synced = synced;
  }

  /** @param synced whether it says that its key may be copied to other devices */
  static create(synced: boolean): SoftwarePasskey {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return new SoftwarePasskey(randomBytes(16), privateKey, synced);
  }

  static from({ id, privateKey, synced }: KeptPasskey): SoftwarePasskey {
    return new SoftwarePasskey(Buffer.from(id, 'base64url'), createPrivateKey(privateKey), synced);
  }

  get kept(): KeptPasskey {
    const privateKey = this.#privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    return { id: this.#id.toString('base64url'), privateKey, synced: this.#synced };
  }

  /** Answers `navigator.credentials.create`. */
  register(options: EnrolmentOptions, origin: string): RegistrationResponseJSON {
    const { x = '', y = '' } = this.#privateKey.export({ format: 'jwk' });
    const length = Buffer.alloc(2);
    length.writeUInt16BE(this.#id.length);
    const authData = Buffer.concat([
      this.#head(options.rp.id ?? 'localhost', USER_PRESENT | USER_VERIFIED | ATTESTED),
      Buffer.alloc(16), // no model
      length,
      this.#id,
      coseKey(Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')),
    ]);
    const attestation = Buffer.concat([
      Buffer.of(0xa3), // {"fmt": "none", "attStmt": {}, "authData": …}, CBOR by hand: three entries, always the same
      Buffer.of(0x63, ...Buffer.from('fmt'), 0x64, ...Buffer.from('none')),
      Buffer.of(0x67, ...Buffer.from('attStmt'), 0xa0),
      Buffer.of(0x68, ...Buffer.from('authData'), 0x58, authData.length),
      authData,
    ]);
    return {
      ...this.#envelope(),
      response: {
        clientDataJSON: clientData('webauthn.create', options.challenge, origin).toString('base64url'),
        attestationObject: attestation.toString('base64url'),
      },
    };
  }

  /** Answers `navigator.credentials.get`. `verified`: somebody entered the PIN. */
  signIn(options: SignInOptions, origin: string, verified: boolean): AuthenticationResponseJSON {
    const authenticatorData = this.#head(
      options.rpId ?? 'localhost',
      USER_PRESENT | (verified ? USER_VERIFIED : 0),
    );
    const data = clientData('webauthn.get', options.challenge, origin);
    const signed = Buffer.concat([authenticatorData, createHash('sha256').update(data).digest()]);
    return {
      ...this.#envelope(),
      response: {
        clientDataJSON: data.toString('base64url'),
        authenticatorData: authenticatorData.toString('base64url'),
        signature: sign('sha256', signed, this.#privateKey).toString('base64url'),
      },
    };
  }

  #envelope(): Pick<AuthenticationResponseJSON, 'id' | 'rawId' | 'type' | 'clientExtensionResults'> {
    const id = this.#id.toString('base64url');
    return { id, rawId: id, type: 'public-key', clientExtensionResults: {} };
  }

  /** rpIdHash, flags, signature counter. The counter stays 0, as synced passkeys' does. */
  #head(rpId: string, flags: number): Buffer {
    const all = flags | (this.#synced ? BACKUP_ELIGIBLE | BACKED_UP : 0);
    return Buffer.concat([createHash('sha256').update(rpId).digest(), Buffer.of(all), Buffer.alloc(4)]);
  }
}

const clientData = (type: string, challenge: string, origin: string): Buffer =>
  Buffer.from(JSON.stringify({ type, challenge, origin, crossOrigin: false }));

/** COSE_Key of RFC 9053 §7.1: {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y}. */
const coseKey = (x: Buffer, y: Buffer): Buffer =>
  Buffer.concat([
    Buffer.of(0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 32),
    x,
    Buffer.of(0x22, 0x58, 32),
    y,
  ]);
