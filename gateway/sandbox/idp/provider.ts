import { createHmac, type KeyObject, type X509Certificate } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import type {
  ClientMetadata,
  Configuration,
  JWKS,
  KoaContextWithOIDC,
  Provider,
  ResourceServer,
} from 'oidc-provider';
import type { EpochMs } from '../../core/clock.ts';
import { LADDER, isEnough } from './levels.ts';
import { personOf } from './people.ts';
import { memoryStore, type Entries } from './store.ts';

/** `typ` of an assertion: a JWT access token (RFC 9068), which is what providers can be configured to issue. */
const TYP = 'at+jwt';
const ASSERTION_SECONDS = 300;
const SESSION_SECONDS = 12 * 3600;

/** Where an assertion is for, and whether it has to be sealed: the two resource indicators (RFC 8707). */
export interface Audience {
  /** `aud`: agency A's gateway. */
  readonly name: string;
  /** Indicator for plain JWS. */
  readonly open: string;
  /** Indicator for a JWS inside a JWE to the gateway's key: FAL2. */
  readonly sealed: string;
  readonly key: { readonly kid: string; readonly publicKey: KeyObject };
}

export interface ProviderOptions {
  readonly issuer: string;
  /** Private JWK set; the first key signs. */
  readonly jwks: JWKS;
  readonly audience: Audience;
  /** Applications of agency A that may ask for assertions. */
  readonly clients: readonly ClientMetadata[];
  /** Secret from which cookie and nonce keys are derived. */
  readonly secret: Buffer;
  readonly now: () => EpochMs;
  /** Where sessions, codes and grants are kept. */
  readonly entries: Entries;
}

/** Agency A's OpenID provider, the certified one, set up as a real one would be. Door of oidc-provider. */
export async function createProvider(options: ProviderOptions): Promise<Provider> {
  const oidc = await import('oidc-provider');
  const { base, Check } = oidc.interactionPolicy;
  const policy = base();
  // The application and the provider belong to one agency: its people are not asked whether they consent.
  policy.remove('consent');
  policy.get('login')?.checks.add(
    new Check('acr_values', 'a stronger sign-in is needed', (ctx) => {
      const { session, params, result } = ctx.oidc;
      // One try per request. Who has no stronger authenticator gets what there is, and the service refuses it.
      if (result?.login !== undefined) return Check.NO_NEED_TO_PROMPT;
      const wanted = params?.['acr_values'];
      const enough = isEnough(session?.acr, typeof wanted === 'string' ? wanted : undefined);
      return enough ? Check.NO_NEED_TO_PROMPT : Check.REQUEST_PROMPT;
    }),
  );
  return new oidc.Provider(options.issuer, configuration(options, policy, oidc.errors.InvalidTarget));
}

function configuration(
  { jwks, audience, clients, secret, now, entries }: ProviderOptions,
  policy: NonNullable<Configuration['interactions']>['policy'],
  InvalidTarget: typeof import('oidc-provider').errors.InvalidTarget,
): Configuration {
  const derived = (use: string): Buffer => createHmac('sha256', secret).update(use).digest();
  return {
    jwks,
    clients: [...clients],
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    adapter: memoryStore(now, entries),
    acrValues: [...LADDER],
    scopes: ['openid'],
    claims: { openid: ['sub'], acr: null, amr: null, auth_time: null, iss: null, sid: null },
    responseTypes: ['code'],
    clientAuthMethods: ['none', 'tls_client_auth'],
    pkce: { required: () => true },
    cookies: { keys: [derived('cookies').toString('base64url')] },
    clientBasedCORS: () => false,
    issueRefreshToken: () => false,
    interactions: { policy, url: (_, { uid }) => `/interaction/${uid}` },
    findAccount: (_, sub) =>
      personOf(sub) === undefined ? undefined : { accountId: sub, claims: () => ({ sub }) },
    loadExistingGrant: grantAll,
    extraTokenClaims: (ctx) => levelOfCode(ctx),
    formats: {
      customizers: {
        jwt: (_, __, parts) => {
          parts.header = { typ: TYP };
          // Closed schema: what the gateways do not need does not travel between agencies.
          delete parts.payload['scope'];
          delete parts.payload['client_id'];
        },
      },
    },
    ttl: {
      AccessToken: ASSERTION_SECONDS,
      AuthorizationCode: 60,
      Grant: SESSION_SECONDS,
      IdToken: 300,
      Interaction: 600,
      Session: SESSION_SECONDS,
    },
    renderError: (ctx, { error, error_description: detail }) => {
      ctx.type = 'text';
      ctx.body = `${error}: ${detail ?? ''}\n`;
    },
    features: {
      devInteractions: { enabled: false },
      userinfo: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      dPoP: { enabled: true, nonceSecret: derived('dpop nonce'), requireNonce: () => true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        tlsClientAuth: true,
        getCertificate: (ctx) => peerOf(ctx)?.toString(),
        certificateAuthorized: (ctx) => ctx.req.socket instanceof TLSSocket && ctx.req.socket.authorized,
        certificateSubjectMatches: (ctx, property, expected) =>
          property === 'tls_client_auth_subject_dn' && peerOf(ctx)?.subject === expected,
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience.open,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, indicator) => {
          if (indicator !== audience.open && indicator !== audience.sealed) throw new InvalidTarget();
          return resourceServer(audience, indicator === audience.sealed);
        },
      },
    },
  };
}

function resourceServer({ name, key }: Audience, sealed: boolean): ResourceServer {
  return {
    scope: 'exchange',
    audience: name,
    accessTokenTTL: ASSERTION_SECONDS,
    accessTokenFormat: 'jwt',
    jwt: {
      sign: { alg: 'ES256' },
      ...(sealed
        ? { encrypt: { alg: 'ECDH-ES+A256KW', enc: 'A256GCM', key: key.publicKey, kid: key.kid } }
        : {}),
    },
  };
}

/** The certificate comes from the TLS layer only (RFC 8705 §2); on the plain loopback listener there is none. */
function peerOf(ctx: KoaContextWithOIDC): X509Certificate | undefined {
  const { socket } = ctx.req;
  return socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
}

async function grantAll(ctx: KoaContextWithOIDC): Promise<InstanceType<Provider['Grant']> | undefined> {
  const { client, session, provider, params, resourceServers } = ctx.oidc;
  if (client === undefined || session?.accountId === undefined) return undefined;
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope(String(params?.['scope']));
  for (const indicator of Object.keys(resourceServers ?? {})) grant.addResourceScope(indicator, 'exchange');
  await grant.save();
  return grant;
}

/** Level and time of the sign-in that the code stands for: the provider itself puts them into ID tokens only. */
function levelOfCode(ctx: KoaContextWithOIDC): Record<string, unknown> | undefined {
  const code = ctx.oidc.entities.AuthorizationCode;
  return code === undefined ? undefined : { acr: code.acr, amr: code.amr, auth_time: code.authTime };
}
