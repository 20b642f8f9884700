import { base64url, sha256 } from '../core/bytes.ts';
import { toSeconds, type EpochSeconds } from '../core/clock.ts';
import { Denied } from '../core/errors.ts';
import { fieldValue, NO_FIELDS, type Fields } from '../core/fields.ts';
import type { RequestHead } from '../core/head.ts';
import type { MemberId } from '../core/ids.ts';
import { KnownTexts } from '../core/known-texts.ts';
import { REFUSALS, type RefusalCode } from '../core/refusals.ts';
import { challengeFields, type Challenge } from '../identity/challenge.ts';
import { decryptAssertion, MAX_JWE_LENGTH } from '../identity/decrypt.ts';
import type { DpopNonces } from '../identity/dpop-nonce.ts';
import type { PeerGateway } from '../identity/peer.ts';
import type { TokenInputs } from '../identity/token-cache.ts';
import { VerifiedToken } from '../identity/token.ts';
import { UserAssertion, type Shown } from '../identity/user-assertion.ts';
import type { SignedHead } from '../message/signed-head.ts';
import { formatUser, parseUser, USER } from '../message/user-field.ts';
import { audienceOf } from './audience.ts';
import type { ClientRequest } from './client-request.ts';
import type { Gateway } from './gateway.ts';
import type { UserChecks } from './user-checks.ts';

/** What is asked of the gateway here. */
type Context = Pick<Gateway, 'users' | 'name' | 'clock'>;

/** A user that was proved, and how that travels on. */
export interface PresentedUser {
  readonly assertion: UserAssertion;
  /** `T-Road-User` for the peer; kept sealed as evidence. */
  readonly field: string;
}

export const ASSERTION = 't-road-assertion';
export const PROOF = 'dpop';

export const hasAssertion = (fields: Fields): boolean => fieldValue(fields, ASSERTION) !== undefined;

/**
 * Consumer's gateway: who the user is, from what the client sent. Undefined when it sent no assertion; whether that will do
 * is for the policy to say.
 * @param certificate SHA-256 of the client certificate that TLS proved, base64url
 * @throws Denied `assertion.*` with a challenge
 */
export async function presentedUser(
  request: Pick<ClientRequest, 'fields' | 'method' | 'origin' | 'target'>,
  certificate: string | undefined,
  member: MemberId,
  gateway: Context,
): Promise<PresentedUser | undefined> {
  const presented = fieldValue(request.fields, ASSERTION);
  if (presented === undefined) return undefined;
  const { users, name, clock } = gateway;
  try {
    if (presented.length > MAX_JWE_LENGTH)
      throw new Denied('assertion.malformed', `${presented.length} characters`);
    const encrypted = isEncrypted(presented);
    const now = toSeconds(clock.now());
    const inputs = inputsOf(presented, encrypted, member, audienceOf(name), now, users);
    const token =
      users.cache.find(inputs) ??
      verify(encrypted ? await decryptAssertion(presented, users.decryptionKeys) : presented, inputs, users);
    const shown = { proof: fieldValue(request.fields, PROOF), certificate, encrypted };
    const assertion = prove('c', token, shown, now, users, {
      method: request.method,
      origin: request.origin,
      path: request.target.path,
      assertionSha256: () => sha256(presented),
      isNonce: users.nonces.isOurs,
    });
    await users.idle.requireActive(assertion, now);
    return { assertion, field: fieldOf(assertion, token, presented) };
  } catch (thrown) {
    throw challenged(thrown, users.nonces);
  }
}

/** A JWE has five parts (RFC 7516 §3.1), a JWS three. */
function isEncrypted(presented: string): boolean {
  let dots = 0;
  for (let at = presented.indexOf('.'); at >= 0 && dots < 4; at = presented.indexOf('.', at + 1)) dots += 1;
  return dots === 4;
}

/**
 * Provider's gateway: the same again, from what the peer relayed. The audience is the gateway that the live connection
 * proved, the keys are those of that gateway's member: a subject of one agency over another's connection is refused.
 * @throws Denied `assertion.*`, `message.inconsistent`
 */
export function relayedUser(
  signed: Pick<SignedHead, 'fields'>,
  head: Pick<RequestHead, 'method' | 'path'>,
  peer: PeerGateway,
  { users, clock }: Pick<Context, 'users' | 'clock'>,
): PresentedUser | undefined {
  const field = fieldValue(signed.fields, USER);
  if (field === undefined) return undefined;
  const { jws, encrypted, shown } = relayedOf(field);
  try {
    // The hash of the JWE is the peer's word. The key of our cache is what we verify: the JWS.
    const now = toSeconds(clock.now());
    const inputs = inputsOf(jws, encrypted !== undefined, peer.member, audienceOf(peer.name), now, users);
    const token = users.cache.find(inputs) ?? verify(jws, inputs, users);
    const assertion = prove('p', token, shown, now, users, {
      method: head.method,
      origin: undefined,
      path: head.path,
      assertionSha256: () => encrypted ?? sha256(jws),
      isNonce: undefined,
    });
    return { assertion, field };
  } catch (thrown) {
    throw challenged(thrown, undefined);
  }
}

/** A relayed field, taken apart. */
interface Relayed {
  readonly jws: string;
  readonly encrypted: Buffer | undefined;
  readonly shown: Shown;
}

/** Of every field of an assertion that is bound to a certificate. */
const ENDING = '", certificate=::'.length + 44;
/** Bound to a certificate, a user's field is the same with each request. Only texts are read here: nothing in them is believed. */
const lately = new KnownTexts<Relayed>(1024, ENDING);

/** @throws Denied `message.inconsistent` */
function relayedOf(field: string): Relayed {
  const known = lately.find(field);
  if (known !== undefined) return known;
  const { jws, encrypted, proof, certificate } = parseUser(field);
  const bound = certificate === undefined ? undefined : base64url(certificate);
  const relayed = {
    jws,
    encrypted,
    shown: { proof, certificate: bound, encrypted: encrypted !== undefined },
  };
  if (bound !== undefined) lately.keep(field, relayed);
  return relayed;
}

/** The client's fields as they travel: the assertion and its proof in one field of ours, or nothing of them. */
export function carriedFields(fields: Fields, user: PresentedUser | undefined): Fields {
  // Without an assertion a DPoP field belongs to the service, like Authorization.
  if (user === undefined) return fields;
  return [...fields.filter(([name]) => name !== ASSERTION && name !== PROOF), [USER, user.field]];
}

function inputsOf(
  presented: string,
  encrypted: boolean,
  member: MemberId,
  audience: string,
  now: EpochSeconds,
  users: UserChecks,
): TokenInputs & { readonly member: MemberId } {
  const { revision } = users.issuers();
  return { presented, encrypted, member, audience, revision, now };
}

function verify(
  jws: string,
  inputs: TokenInputs & { readonly member: MemberId },
  users: UserChecks,
): VerifiedToken {
  const token = VerifiedToken.verify(jws, inputs, users.issuers());
  users.cache.keep(inputs, token);
  return token;
}

function prove(
  role: 'c' | 'p',
  token: VerifiedToken,
  shown: Shown,
  now: EpochSeconds,
  { revocations, assertions, proofs }: UserChecks,
  request: Parameters<typeof UserAssertion.prove>[2]['request'],
): UserAssertion {
  return UserAssertion.prove(token, shown, {
    request,
    now,
    revocations,
    // A gateway may be both ends of an exchange: each end uses an id once.
    assertions: { claim: (id) => assertions.claim(role, id) },
    proofs: { claim: (id) => proofs.claim(role, id) },
  });
}

/** Fields of assertions that are bound to a certificate: nothing in them is of one request alone. */
const fields = new WeakMap<VerifiedToken, string>();

/** @param presented what the token was verified in */
function fieldOf({ jws, shown, boundBy }: UserAssertion, token: VerifiedToken, presented: string): string {
  const known = fields.get(token);
  if (known !== undefined) return known;
  const encrypted = shown.encrypted ? sha256(presented) : undefined;
  const proof = boundBy === 'dpop' ? shown.proof : undefined;
  const bound = boundBy === 'certificate' ? shown.certificate : undefined;
  const certificate = bound === undefined ? undefined : Buffer.from(bound, 'base64url');
  const field = formatUser({ jws, encrypted, proof, certificate });
  if (certificate !== undefined) fields.set(token, field);
  return field;
}

/** A 401 says what would help (RFC 9110 §15.5.2), and carries a nonce where a proof is the next thing to make. */
export function challenged(thrown: unknown, nonces: DpopNonces | undefined): unknown {
  if (!(thrown instanceof Denied) || REFUSALS[thrown.code].status !== 401) return thrown;
  const aboutProof = thrown.code.startsWith('assertion.proof_');
  const nonce = aboutProof ? nonces?.current : undefined;
  const made = thrown.answerFields.length > 0 ? thrown.answerFields : undefined;
  if (made !== undefined && nonce === undefined) return thrown;
  const answerFields = challengeFields({
    ...complaintOf(thrown.code),
    acrValues: [],
    bound: aboutProof,
    ...(nonce === undefined ? {} : { nonce }),
  });
  return new Denied(thrown.code, thrown.message.slice(thrown.code.length + 2), {
    cause: thrown,
    answerFields,
  });
}

function complaintOf(code: RefusalCode): Pick<Challenge, 'error' | 'maxAgeSeconds'> {
  if (code === 'assertion.proof_nonce' || code === 'assertion.proof_missing')
    return { error: 'use_dpop_nonce' };
  if (code.startsWith('assertion.proof_')) return { error: 'invalid_dpop_proof' };
  // Another assertion of the same authentication, which a client could get unseen, would be refused again, and again.
  if (code === 'assertion.revoked') return { error: 'insufficient_user_authentication', maxAgeSeconds: 0 };
  return { error: 'invalid_token' };
}

/** What the service is told about the user. It can believe these fields: clients cannot set them. */
export function userFacts(user: PresentedUser | undefined): Fields {
  if (user === undefined) return NO_FIELDS;
  const { issuer, subject, level, acr, authTime, boundBy } = user.assertion;
  return [
    ['t-road-user-issuer', issuer],
    // Any text may name a user; in a field it travels percent-encoded.
    ['t-road-user-subject', encodeURIComponent(subject)],
    ['t-road-user-level', `ial=${level.ial}, aal=${level.aal}, fal=${level.fal}`],
    ['t-road-user-acr', acr],
    ['t-road-user-authenticated', `@${authTime}`],
    ['t-road-user-bound-by', boundBy],
  ];
}
