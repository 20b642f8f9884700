import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import type {
  AuthenticationResponseJSON,
  PublicKeyCredentialCreationOptionsJSON,
  PublicKeyCredentialRequestOptionsJSON,
  RegistrationResponseJSON,
} from '@simplewebauthn/server';
import type { EpochMs } from '../../core/clock.ts';
import type { PasskeyUse } from './levels.ts';
import type { Person } from './people.ts';

/** Passkeys work for names, not addresses: pages are opened as `localhost`, never as 127.0.0.1. */
const RP_ID = 'localhost';
const CHALLENGE_MS = 300_000;
const CHALLENGES = 1000;
/** EdDSA, ES256, and RS256 for authenticators that can do nothing else. */
const ALGORITHMS = [-8, -7, -257];

interface Stored {
  readonly subject: string;
  readonly id: string;
  /** COSE key, base64url. */
  readonly publicKey: string;
  readonly backupEligible: boolean;
  counter: number;
}

/** Why a sign-in or an enrolment was not accepted. The text is for the person in front of the browser. */
export class NotAccepted extends Error {
  override readonly name = 'NotAccepted';
}

/** The passkeys of the sandbox's people: public keys in one file. Door of @simplewebauthn/server. */
export class Passkeys {
  readonly #file: string;
  readonly #origins: readonly string[];
  readonly #now: () => EpochMs;
  #saving: Promise<void> = Promise.resolve();
  readonly #stored: Map<string, Stored>;
  /** Issued challenges and what each is for: good once, and not for long. */
  readonly #challenges = new Map<string, { readonly use: string; readonly until: EpochMs }>();
  readonly #webauthn: typeof import('@simplewebauthn/server');

  private constructor(
    file: string,
    origins: readonly string[],
    now: () => EpochMs,
    stored: readonly Stored[],
    webauthn: typeof import('@simplewebauthn/server'),
  ) {
    this.#file = file;
    this.#origins = origins;
    this.#now = now;
    this.#stored = new Map(stored.map((passkey) => [passkey.id, passkey]));
    this.#webauthn = webauthn;
  }

  /** @param origins of the pages on which a passkey may be made or used */
  static async open(file: string, origins: readonly string[], now: () => EpochMs): Promise<Passkeys> {
    const webauthn = await import('@simplewebauthn/server');
    const text = await readFile(file, 'utf8').catch(() => '[]');
    const stored = JSON.parse(text) as Stored[]; // our own file
    return new Passkeys(file, origins, now, stored, webauthn);
  }

  enrolmentOptions({ login, subject, name }: Person): Promise<PublicKeyCredentialCreationOptionsJSON> {
    return this.#webauthn.generateRegistrationOptions({
      rpName: 'T-Road sandbox',
      rpID: RP_ID,
      userName: login,
      userDisplayName: name,
      userID: new TextEncoder().encode(subject),
      challenge: this.#challenge(`enrol ${subject}`),
      attestationType: 'none',
      supportedAlgorithmIDs: ALGORITHMS,
      authenticatorSelection: { residentKey: 'required', userVerification: 'preferred' },
    });
  }

  /** @throws NotAccepted */
  async enrol({ subject }: Person, response: RegistrationResponseJSON): Promise<void> {
    const { registrationInfo } = await accepted(() =>
      this.#webauthn.verifyRegistrationResponse({
        response,
        expectedChallenge: (challenge) => this.#take(challenge, `enrol ${subject}`),
        expectedOrigin: [...this.#origins],
        expectedRPID: RP_ID,
        // A key that was only touched is good for AAL1: how it is unlocked is looked at when it signs in.
        requireUserVerification: false,
        supportedAlgorithmIDs: ALGORITHMS,
      }),
    );
    if (registrationInfo === undefined) throw new NotAccepted('this passkey was not accepted');
    const { credential, credentialDeviceType } = registrationInfo;
    if (this.#stored.has(credential.id)) throw new NotAccepted('this passkey is already enrolled');
    this.#stored.set(credential.id, {
      subject,
      id: credential.id,
      publicKey: Buffer.from(credential.publicKey).toString('base64url'),
      backupEligible: credentialDeviceType === 'multiDevice',
      counter: credential.counter,
    });
    await this.#save();
  }

  /**
   * @param use what the challenge is bound to: an answer is accepted for this sign-in only
   * @param verified whether the person has to unlock the authenticator, not just touch it
   */
  signInOptions(use: string, verified: boolean): Promise<PublicKeyCredentialRequestOptionsJSON> {
    return this.#webauthn.generateAuthenticationOptions({
      rpID: RP_ID,
      challenge: this.#challenge(`sign in ${use}`),
      userVerification: verified ? 'required' : 'discouraged',
    });
  }

  /** @throws NotAccepted */
  async signIn(
    use: string,
    response: AuthenticationResponseJSON,
  ): Promise<PasskeyUse & { readonly subject: string }> {
    const passkey = this.#stored.get(response.id);
    if (passkey === undefined) throw new NotAccepted('this passkey is not enrolled here');
    const { verified, authenticationInfo } = await accepted(() =>
      this.#webauthn.verifyAuthenticationResponse({
        response,
        expectedChallenge: (challenge) => this.#take(challenge, `sign in ${use}`),
        expectedOrigin: [...this.#origins],
        expectedRPID: RP_ID,
        credential: {
          id: passkey.id,
          publicKey: Uint8Array.from(Buffer.from(passkey.publicKey, 'base64url')),
          counter: passkey.counter,
        },
        requireUserVerification: false,
      }),
    );
    if (!verified) throw new NotAccepted('the signature of the passkey is not good');
    const { userVerified, newCounter, credentialDeviceType } = authenticationInfo;
    // BE is fixed when the key is made (WebAuthn L3 §6.1.3): another value now is another authenticator.
    if ((credentialDeviceType === 'multiDevice') !== passkey.backupEligible) {
      throw new NotAccepted('the passkey changed its kind since it was enrolled');
    }
    passkey.counter = newCounter;
    await this.#save();
    return { subject: passkey.subject, userVerified, backupEligible: passkey.backupEligible };
  }

  #challenge(use: string): Uint8Array<ArrayBuffer> {
    const now = this.#now();
    for (const [challenge, { until }] of this.#challenges) {
      if (until > now && this.#challenges.size < CHALLENGES) break; // oldest first
      this.#challenges.delete(challenge);
    }
    const challenge = Uint8Array.from(randomBytes(32));
    this.#challenges.set(Buffer.from(challenge).toString('base64url'), { use, until: now + CHALLENGE_MS });
    return challenge;
  }

  #take(challenge: string, use: string): boolean {
    const issued = this.#challenges.get(challenge);
    this.#challenges.delete(challenge);
    return issued !== undefined && issued.use === use && issued.until > this.#now();
  }

  /** One after the other: two writes at once would share the file that is renamed. */
  #save(): Promise<void> {
    const saved = this.#saving
      .catch(() => undefined)
      .then(async () => {
        const text = JSON.stringify([...this.#stored.values()], null, 2);
        await writeFile(`${this.#file}.new`, text, { mode: 0o600 });
        await rename(`${this.#file}.new`, this.#file);
      });
    this.#saving = saved;
    return saved;
  }
}

/** The library throws plain errors for what a visitor sent. Their texts are about that, and safe to show. */
async function accepted<T>(verify: () => Promise<T>): Promise<T> {
  try {
    return await verify();
  } catch (cause) {
    throw new NotAccepted(cause instanceof Error ? cause.message : 'not accepted', { cause });
  }
}
