import { base64url, sha256 } from '../core/bytes.ts';
import type { EpochSeconds } from '../core/clock.ts';
import { Denied } from '../core/errors.ts';
import type { MemberId } from '../core/ids.ts';
import { requireInTime } from './claims.ts';
import { challengeFields, type Challenge } from './challenge.ts';
import { checkProof, proofId, type KnownProofKey, type ProofTarget } from './dpop.ts';
import { MAX_AUTHENTICATION_AGE_S, type Level } from './levels.ts';
import type { VerifiedToken } from './token.ts';

/** Ids that may be used once. One atomic step: two copies that arrive together cannot both win. */
export interface SingleUse {
  /** @throws Denied when the id was used before; Unavailable when no more can be remembered */
  claim(id: string): void;
}

/** What came with the request beside the assertion itself. */
export interface Shown {
  /** The `DPoP` field. */
  readonly proof: string | undefined;
  /** SHA-256 (base64url) of the client certificate that TLS proved; at the provider's gateway, what the peer signed about it. */
  readonly certificate: string | undefined;
  /** True when the assertion was encrypted to the consumer's gateway. */
  readonly encrypted: boolean;
}

export interface PossessionContext {
  readonly request: Pick<ProofTarget, 'method' | 'origin' | 'path' | 'isNonce' | 'assertionSha256'>;
  readonly now: EpochSeconds;
  /** Who signed out, or lost a credential. @throws Denied `assertion.revoked` */
  readonly revocations: { requireValid(token: VerifiedToken): void };
  readonly assertions: SingleUse;
  readonly proofs: SingleUse;
}

/** Keys of proofs seen for a token, so that the next one costs a signature check and no more. */
const proofKeys = new WeakMap<VerifiedToken, KnownProofKey>();

/** Proof of who the user is, how that was shown, and that whoever sends this request holds what the assertion is bound to. */
export class UserAssertion {
  declare protected readonly nominal: never;
  readonly issuer: string;
  /** Means something together with the issuer only. */
  readonly subject: string;
  /** Both, as tables have them. */
  readonly userKey: string;
  /** Whose user it is. */
  readonly member: MemberId;
  readonly level: Level;
  readonly acr: string;
  readonly amr: readonly string[];
  readonly authTime: EpochSeconds;
  readonly issuedAt: EpochSeconds;
  readonly expiresAt: EpochSeconds;
  readonly boundBy: 'dpop' | 'certificate' | 'none';
  readonly session: string | undefined;
  readonly jti: string;
  readonly jws: string;
  readonly shown: Shown;
  /** Ids used up by this request, base64url of a SHA-256: what a restart has to remember. */
  readonly used: { readonly assertion?: string; readonly proof?: string };

  private constructor(token: VerifiedToken, shown: Shown, used: UserAssertion['used']) {
    const { claims, issuer, jws } = token;
    this.issuer = claims.issuer;
    this.subject = claims.subject;
    this.userKey = token.userKey;
    this.member = issuer.member;
    this.level = levelOfToken(token, shown);
    this.acr = claims.acr;
    this.amr = claims.amr;
    this.authTime = claims.authTime;
    this.issuedAt = claims.issuedAt;
    this.expiresAt = claims.expiresAt;
    this.boundBy = claims.binding.kind;
    this.session = claims.session;
    this.jti = claims.jti;
    this.jws = jws;
    this.shown = shown;
    this.used = used;
  }

  /**
   * Every request anew: time, sign-outs, possession, and that nothing is used twice. What is claimed is claimed last, so
   * that a request that fails before costs its sender nothing.
   * @throws Denied `assertion.*`
   */
  static prove(token: VerifiedToken, shown: Shown, context: PossessionContext): UserAssertion {
    const { claims } = token;
    const { now } = context;
    requireInTime(claims, now);
    context.revocations.requireValid(token);
    if (now - claims.authTime > MAX_AUTHENTICATION_AGE_S) {
      const { acr, aal } = { acr: claims.acr, aal: levelOfToken(token, shown).aal };
      throw insufficient(`authenticated ${now - claims.authTime} s ago`, {
        acrValues: token.issuer.acr.has(acr) && aal > 0 ? [acr] : [],
        maxAgeSeconds: MAX_AUTHENTICATION_AGE_S,
        bound: claims.binding.kind === 'dpop',
      });
    }
    const { proof, certificate } = shown;
    switch (claims.binding.kind) {
      case 'dpop': {
        const { thumbprint } = claims.binding;
        if (proof === undefined) throw new Denied('assertion.proof_missing', 'cnf.jkt without a DPoP field');
        const target = { ...context.request, thumbprint, now };
        const checked = checkProof(proof, target, proofKeys.get(token));
        proofKeys.set(token, checked.known);
        const id = proofId(thumbprint, checked.jti);
        context.proofs.claim(id);
        return new UserAssertion(token, shown, { proof: id });
      }
      case 'certificate': {
        // RFC 8705 §3: what TLS proved on this very connection; a header that speaks of certificates is never read.
        if (proof !== undefined)
          throw new Denied('assertion.proof_invalid', 'a DPoP proof for a certificate-bound assertion');
        if (certificate !== claims.binding.thumbprint)
          throw new Denied(
            'assertion.certificate',
            `bound to ${claims.binding.thumbprint}, shown ${certificate ?? 'none'}`,
          );
        return new UserAssertion(token, shown, {});
      }
      case 'none': {
        // Taken off the assertion, a binding would be gone; then at least what is left is for one request.
        if (proof !== undefined)
          throw new Denied('assertion.proof_invalid', 'a DPoP proof for an unbound assertion');
        const id = base64url(sha256(`jti\n${claims.issuer}\n${claims.jti}`));
        context.assertions.claim(id);
        return new UserAssertion(token, shown, { assertion: id });
      }
    }
  }
}

const levelOfToken = ({ levels }: VerifiedToken, { encrypted }: Shown): Level =>
  encrypted ? levels.encrypted : levels.plain;

/** RFC 9470: who follows the challenge and comes back is let in. */
export const insufficient = (why: string, challenge: Omit<Challenge, 'error'>): Denied =>
  new Denied('assertion.insufficient', why, {
    answerFields: challengeFields({ ...challenge, error: 'insufficient_user_authentication' }),
  });
