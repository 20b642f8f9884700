import { parseMemberId } from '../core/ids.ts';
import { ASSERTION_ALGORITHMS, type AssertionAlgorithm } from '../identity/algorithm.ts';
import type { PublicJwk } from '../identity/jwk.ts';
import type { Assurance, AssertionDemand } from '../identity/levels.ts';
import type { AcrRow, IdentityKeyRow, IdentityProviderRow } from './document.ts';
import { BAD, type Bad, type Problems, whole } from './problems.ts';

const MAX_KEYS = 16;
const MAX_ACR = 64;
/** An assertion is for one piece of work; who works longer gets a new one. */
const MAX_LIFETIME_S = 3600;
/** SP 800-63B §4.2.3: nothing may rest on an authentication that is older than this. */
const MAX_AGE_S = 12 * 3600;

/** The demand of an agreement: the word `none`, or all five members. A member left out would be a demand left out. */
export function assertionDemand(
  raw: unknown,
  path: string,
  problems: Problems,
): 'none' | AssertionDemand | Bad {
  if (typeof raw !== 'object' || raw === null) return problems.oneOf<'none'>(raw, path, ['none']);
  const o = problems.object(raw, path, ['ial', 'aal', 'fal', 'maxAgeSeconds', 'proof']);
  if (o === BAD) return BAD;
  return whole<AssertionDemand>({
    ial: assurance(o.ial, `${path}/ial`, problems),
    aal: assurance(o.aal, `${path}/aal`, problems),
    fal: assurance(o.fal, `${path}/fal`, problems),
    maxAgeSeconds: within(o.maxAgeSeconds, `${path}/maxAgeSeconds`, 1, MAX_AGE_S, problems),
    proof: problems.oneOf(o.proof, `${path}/proof`, ['required', 'optional']),
  });
}

export function identityProvider(raw: unknown, path: string, problems: Problems): IdentityProviderRow | Bad {
  const o = problems.object(raw, path, [
    'issuer',
    'member',
    'keys',
    'jwks',
    'acr',
    'maxLifetimeSeconds',
    'signalKeys',
  ]);
  if (o === BAD) return BAD;
  return whole<IdentityProviderRow>({
    issuer: problems.text(o.issuer, `${path}/issuer`, 'an https URL without query and fragment', httpsUrl),
    member: problems.text(o.member, `${path}/member`, 'instance/class/member', parseMemberId),
    keys: keys(o.keys, `${path}/keys`, problems),
    acr: problems.list(o.acr, `${path}/acr`, MAX_ACR, (item, at) => acr(item, at, problems)),
    maxLifetimeSeconds: within(
      o.maxLifetimeSeconds,
      `${path}/maxLifetimeSeconds`,
      30,
      MAX_LIFETIME_S,
      problems,
    ),
    ...(o.jwks === undefined ? {} : { jwks: jwks(o.jwks, `${path}/jwks`, problems) }),
    ...(o.signalKeys === undefined ? {} : { signalKeys: keys(o.signalKeys, `${path}/signalKeys`, problems) }),
  });
}

const keys = (raw: unknown, path: string, problems: Problems): IdentityKeyRow[] =>
  problems.list(raw, path, MAX_KEYS, (item, at) => {
    const o = problems.object(item, at, ['kid', 'alg', 'jwk']);
    if (o === BAD) return BAD;
    return whole<IdentityKeyRow>({
      kid: problems.text(o.kid, `${at}/kid`, 'up to 200 printable characters', keyId),
      alg: problems.oneOf<AssertionAlgorithm>(o.alg, `${at}/alg`, ASSERTION_ALGORITHMS),
      jwk: jwk(o.jwk, `${at}/jwk`, problems),
    });
  });

export const keyId = (text: string): string | undefined =>
  /^[\x21-\x7e]{1,200}$/.test(text) ? text : undefined;

/** Texts by name. Whether they are a key, and of that algorithm, is found out when the key is read. */
export function jwk(raw: unknown, path: string, problems: Problems): PublicJwk | Bad {
  const o = problems.object(raw, path, ['kty', 'crv', 'x', 'y', 'n', 'e', 'alg', 'pub']);
  if (o === BAD) return BAD;
  const texts: Record<string, string> = {};
  for (const [name, value] of Object.entries(o)) {
    if (typeof value !== 'string') return problems.add(`${path}/${name}`, 'expected text');
    texts[name] = value;
  }
  return Object.freeze(texts);
}

function jwks(
  raw: unknown,
  path: string,
  problems: Problems,
): { readonly url: string; readonly algorithms: readonly AssertionAlgorithm[] } | Bad {
  const o = problems.object(raw, path, ['url', 'algorithms']);
  if (o === BAD) return BAD;
  return whole<{ url: string; algorithms: AssertionAlgorithm[] }>({
    url: problems.text(o.url, `${path}/url`, 'an https URL', httpsUrl),
    algorithms: problems.list(o.algorithms, `${path}/algorithms`, ASSERTION_ALGORITHMS.length, (item, at) =>
      problems.oneOf<AssertionAlgorithm>(item, at, ASSERTION_ALGORITHMS),
    ),
  });
}

function acr(raw: unknown, path: string, problems: Problems): AcrRow | Bad {
  const o = problems.object(raw, path, ['value', 'ial', 'aal']);
  if (o === BAD) return BAD;
  return whole<AcrRow>({
    // Stands between quotes and among spaces in a challenge (RFC 9470 §3).
    value: problems.text(o.value, `${path}/value`, 'a word', (t) =>
      /^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/.test(t) ? t : undefined,
    ),
    ial: assurance(o.ial, `${path}/ial`, problems),
    aal: assurance(o.aal, `${path}/aal`, problems),
  });
}

function assurance(raw: unknown, path: string, problems: Problems): Assurance | Bad {
  return raw === 0 || raw === 1 || raw === 2 || raw === 3 ? raw : problems.add(path, 'expected 0, 1, 2 or 3');
}

export function within(
  raw: unknown,
  path: string,
  min: number,
  max: number,
  problems: Problems,
): number | Bad {
  const value = problems.integer(raw, path, min);
  return value !== BAD && value > max ? problems.add(path, `more than ${max}`) : value;
}

/** Kept as written: issuers are compared byte for byte (RFC 8414 §2), so no second spelling is made here. */
export function httpsUrl(text: string): string | undefined {
  if (text.length > 500 || !/^https:\/\/[\x21-\x7e]+$/.test(text) || /["?#\\]/.test(text)) return undefined;
  if (!URL.canParse(text)) return undefined;
  const { username, password } = new URL(text);
  return username === '' && password === '' ? text : undefined;
}
