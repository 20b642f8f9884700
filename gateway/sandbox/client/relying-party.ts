import { createHash, randomBytes } from 'node:crypto';
import type { DpopKey } from './dpop.ts';
import { ask, type Answer } from './http.ts';

/** An application of agency A that asks the identity provider for assertions (OpenID Connect, code flow with PKCE). */
export interface RelyingParty {
  /** Where this application talks to the provider: its token endpoint by HTTPS. */
  readonly issuer: string;
  /** PEM of the authority that the provider's certificate is from. */
  readonly ca: string;
  readonly clientId: string;
  readonly redirectUri: string;
  /** Certificate that the token shall be bound to (RFC 8705), PEM. */
  readonly certificate?: { readonly cert: string; readonly key: string };
}

export interface Wish {
  readonly acr?: string | undefined;
  readonly maxAgeSeconds?: number | undefined;
  /** The indicator that says for whom and how the assertion is made. */
  readonly resource: string;
}

/** One sign-in under way: what the answer is compared with, and what redeems its code. */
export interface Pending {
  readonly state: string;
  readonly verifier: string;
  /** Where the browser goes. */
  readonly query: string;
}

export class SignInFailed extends Error {
  override readonly name = 'SignInFailed';
}

export function beginSignIn({ clientId, redirectUri }: RelyingParty, wish: Wish): Pending {
  const state = randomBytes(16).toString('base64url');
  const verifier = randomBytes(32).toString('base64url');
  const query = new URLSearchParams({
    client_id: clientId,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: 'openid exchange',
    resource: wish.resource,
    state,
    nonce: randomBytes(16).toString('base64url'),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...(wish.acr === undefined ? {} : { acr_values: wish.acr }),
    ...(wish.maxAgeSeconds === undefined ? {} : { max_age: String(wish.maxAgeSeconds) }),
  });
  return { state, verifier, query: query.toString() };
}

/** Takes the answer apart that the browser brought to the redirect URI. @throws SignInFailed */
export function codeOf(party: RelyingParty, pending: Pending, callback: string): string {
  const { searchParams } = new URL(callback);
  if (searchParams.get('state') !== pending.state)
    throw new SignInFailed('this answer is to another question');
  // Mix-up attack: an answer must come from the provider that was asked (RFC 9207).
  if (searchParams.get('iss') !== party.issuer)
    throw new SignInFailed('this answer is from another provider');
  const code = searchParams.get('code');
  if (code === null) {
    throw new SignInFailed(
      `${searchParams.get('error') ?? 'no code'}: ${searchParams.get('error_description') ?? ''}`,
    );
  }
  return code;
}

/** What a sign-in brought: the assertion, and who it was. */
export interface SignedIn {
  /** Bound to the key, or to the party's certificate, when there is one. */
  readonly assertion: string;
  readonly subject: string;
}

/** Redeems a code. @throws SignInFailed */
export async function redeem(
  party: RelyingParty,
  pending: Pending,
  code: string,
  key?: DpopKey,
): Promise<SignedIn> {
  const url = await tokenEndpoint(party);
  const body = new URLSearchParams({
    grant_type: 'authorization_code',
    client_id: party.clientId,
    redirect_uri: party.redirectUri,
    code,
    code_verifier: pending.verifier,
  }).toString();
  const attempt = (nonce?: string): Promise<Answer> =>
    ask(url, {
      method: 'POST',
      ca: party.ca,
      ...party.certificate,
      body,
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        ...(key === undefined ? {} : { dpop: key.proof({ method: 'POST', url, nonce }) }),
      },
    });
  let answer = await attempt();
  const nonce = answer.headers['dpop-nonce'];
  if (answer.status === 400 && typeof nonce === 'string') answer = await attempt(nonce); // RFC 9449 §8
  const { access_token: assertion, id_token: idToken } = parse(answer);
  if (answer.status !== 200 || typeof assertion !== 'string' || typeof idToken !== 'string')
    throw new SignInFailed(`token endpoint: ${answer.body}`);
  return { assertion, subject: subjectOf(idToken) };
}

/** OpenID Connect Core 3.1.3.7: TLS to the token endpoint stands for the signature of what comes from it. */
function subjectOf(idToken: string): string {
  const body = Buffer.from(idToken.split('.')[1] ?? '', 'base64url').toString('utf8');
  const { sub } = parse({ status: 200, body });
  if (typeof sub !== 'string') throw new SignInFailed('the ID token names nobody');
  return sub;
}

async function tokenEndpoint({ issuer, ca }: RelyingParty): Promise<string> {
  const answer = await ask(`${issuer}/.well-known/openid-configuration`, { ca });
  const { issuer: named, token_endpoint: endpoint } = parse(answer);
  if (named !== issuer || typeof endpoint !== 'string')
    throw new SignInFailed(`${issuer} is not an OpenID provider`);
  return endpoint;
}

function parse({ status, body }: Pick<Answer, 'status' | 'body'>): Record<string, unknown> {
  try {
    return JSON.parse(body) as Record<string, unknown>; // every member is checked where it is used
  } catch {
    throw new SignInFailed(`answer ${status} is no JSON`);
  }
}
