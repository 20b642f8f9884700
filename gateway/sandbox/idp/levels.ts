/**
 * What the sandbox's identity provider says about a sign-in, and how it decides. One authenticator, three outcomes
 * (NIST SP 800-63B-4): touched only, unlocked with a PIN or a finger, and unlocked while the key cannot leave its device.
 */
export const ACR = {
  aal1: 'urn:troad:aal1',
  aal2: 'urn:troad:aal2',
  aal3: 'urn:troad:aal3',
} as const;

export type Acr = (typeof ACR)[keyof typeof ACR];

/** Weakest first. */
export const LADDER: readonly Acr[] = [ACR.aal1, ACR.aal2, ACR.aal3];

export interface PasskeyUse {
  /** UV flag: the authenticator itself checked who holds it. */
  readonly userVerified: boolean;
  /** BE flag: the key may be copied to other devices, as synced passkeys are. Never AAL3 (SP 800-63B-4 §3.1.7). */
  readonly backupEligible: boolean;
}

export interface SignInLevel {
  readonly acr: Acr;
  /** RFC 8176. WebAuthn does not tell how the user was verified; `pin` stands for every way. */
  readonly amr: readonly string[];
}

/**
 * Takes the authenticator's word for both flags. Real AAL3 wants its attestation checked against the FIDO metadata and
 * a list of certified models as well; the sandbox would then refuse the software authenticators it is tried with.
 */
export function levelOf({ userVerified, backupEligible }: PasskeyUse): SignInLevel {
  const key = backupEligible ? 'swk' : 'hwk';
  if (!userVerified) return { acr: ACR.aal1, amr: [key, 'user'] };
  return { acr: backupEligible ? ACR.aal2 : ACR.aal3, amr: [key, 'pin', 'user', 'mfa'] };
}

/** @param wanted `acr_values` as in a request: separated by spaces; unknown ones ask for nothing */
export function isEnough(acr: string | undefined, wanted: string | undefined): boolean {
  const least = leastOf(wanted);
  return least === undefined || LADDER.findIndex((rung) => rung === acr) >= LADDER.indexOf(least);
}

/** The lowest rung that is asked for. */
export function leastOf(wanted: string | undefined): Acr | undefined {
  const values = wanted?.split(' ') ?? [];
  return LADDER.find((rung) => values.includes(rung));
}
