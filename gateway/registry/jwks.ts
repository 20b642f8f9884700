import type { Clock } from '../core/clock.ts';
import { describe, MalformedBytes, quoted, Unavailable } from '../core/errors.ts';
import { isAssertionAlgorithm, type AssertionAlgorithm } from '../identity/algorithm.ts';
import { isObject, parseObject } from '../identity/json.ts';
import { readPublicJwk, type TokenKey } from '../identity/jwk.ts';
import type { IdentityProviderRow } from './document.ts';

/** How often keys are fetched again when nothing asks for it. */
const REFRESH_MS = 300_000;
/** Least time between two fetches of one URL, however many unknown key ids come: a rotation shows after this. */
const COOLDOWN_MS = 30_000;
/** How long the last good keys serve while the URL does not. */
const MAX_AGE_MS = 24 * 3_600_000;
export const MAX_JWKS_BYTES = 128 * 1024;
const MAX_KEYS = 32;

/** Members that say about a key what is said elsewhere, or nothing to us. Private ones are not among them. */
const IGNORED = new Set([
  'kid',
  'use',
  'key_ops',
  'alg',
  'x5c',
  'x5t',
  'x5t#S256',
  'x5u',
  'ext',
  'iat',
  'nbf',
  'exp',
]);

/** Gets a document; follows no redirect, reads no more than {@link MAX_JWKS_BYTES}. */
export type FetchJwks = (url: string) => Promise<Uint8Array>;

/** A moment by both clocks: one can be set back, the other stands still while the machine sleeps. */
type Moment = readonly [wall: number, monotonic: number];
const NEVER: Moment = [0, -Infinity];

interface Fetched {
  keys: ReadonlyMap<string, TokenKey>;
  /** When the keys were fetched last. */
  goodAt: Moment;
  triedAt: Moment;
  wanted: boolean;
  running: boolean;
}

/**
 * Keys of identity providers that publish them under a URL of the signed registry. Fetched in the background, never while
 * a request waits; a bad document changes nothing, and the last good one serves for a day.
 */
export class JwksCache {
  readonly #fetch: FetchJwks;
  readonly #clock: Clock;
  readonly #onProblem: (detail: string) => void;
  readonly #byUrl = new Map<string, Fetched>();
  #revision = 0;

  constructor(options: { fetch: FetchJwks; clock: Clock; onProblem: (detail: string) => void }) {
    this.#fetch = options.fetch;
    this.#clock = options.clock;
    this.#onProblem = options.onProblem;
  }

  /** Grows with every change of any key. */
  get revision(): number {
    return this.#revision;
  }

  /** @throws Unavailable `assertion.keys_stale` */
  key({ jwks }: IdentityProviderRow, kid: string): TokenKey | undefined {
    if (jwks === undefined) return undefined;
    const fetched = this.#byUrl.get(slotOf(jwks));
    if (fetched === undefined || this.#since(fetched.goodAt) > MAX_AGE_MS)
      throw new Unavailable('assertion.keys_stale', `no keys from ${quoted(jwks.url, 200)} for too long`);
    const key = fetched.keys.get(kid);
    if (key === undefined) fetched.wanted = true; // the next refresh looks, after the cooldown
    return key;
  }

  /** Fetches what is due. To be called every few seconds with the rows of the registry in force. */
  async refresh(rows: readonly IdentityProviderRow[]): Promise<void> {
    const named = new Map<string, NonNullable<IdentityProviderRow['jwks']>>();
    for (const { jwks } of rows) if (jwks !== undefined) named.set(slotOf(jwks), jwks);
    // A URL that left the registry is forgotten: its keys must not come back with it.
    for (const slot of this.#byUrl.keys()) if (!named.has(slot)) this.#byUrl.delete(slot);
    await Promise.all([...named].map(([slot, jwks]) => this.#refreshOne(slot, jwks)));
  }

  async #refreshOne(slot: string, jwks: NonNullable<IdentityProviderRow['jwks']>): Promise<void> {
    const entry = this.#byUrl.get(slot) ?? {
      keys: new Map(),
      goodAt: NEVER,
      triedAt: NEVER,
      wanted: true,
      running: false,
    };
    this.#byUrl.set(slot, entry);
    const pause = entry.wanted || entry.goodAt !== entry.triedAt ? COOLDOWN_MS : REFRESH_MS;
    if (entry.running || this.#since(entry.triedAt) < pause) return;
    const now: Moment = [this.#clock.now(), this.#clock.monotonic()];
    entry.running = true;
    entry.triedAt = now;
    entry.wanted = false;
    try {
      const keys = readJwks(await this.#fetch(jwks.url), jwks.algorithms);
      entry.goodAt = now;
      if (differ(entry.keys, keys)) this.#revision += 1;
      entry.keys = keys;
    } catch (thrown) {
      this.#onProblem(`${quoted(jwks.url, 200)}: ${describe(thrown)}`);
    } finally {
      entry.running = false;
    }
  }

  /** Milliseconds, by the clock that says more. */
  #since([wall, monotonic]: Moment): number {
    return Math.max(this.#clock.now() - wall, this.#clock.monotonic() - monotonic);
  }
}

/** The same URL under other algorithms is another set of keys. */
const slotOf = ({ url, algorithms }: NonNullable<IdentityProviderRow['jwks']>): string =>
  `${url} ${algorithms.join(' ')}`;

function differ(a: ReadonlyMap<string, TokenKey>, b: ReadonlyMap<string, TokenKey>): boolean {
  if (a.size !== b.size) return true;
  for (const [kid, key] of a) {
    const other = b.get(kid);
    if (other === undefined || other.algorithm !== key.algorithm || !other.publicKey.equals(key.publicKey))
      return true;
  }
  return false;
}

/**
 * Keys of a JWK set (RFC 7517 §5) for the agreed algorithms; other keys are passed over, as §5 asks. A set with two keys
 * of one id, or too many, is no set.
 * @throws MalformedBytes
 */
export function readJwks(
  bytes: Uint8Array,
  algorithms: readonly AssertionAlgorithm[],
): ReadonlyMap<string, TokenKey> {
  if (bytes.length > MAX_JWKS_BYTES) throw new MalformedBytes(`${bytes.length} bytes`);
  const { keys: listed } = parseObject(bytes);
  if (!Array.isArray(listed) || listed.length > MAX_KEYS)
    throw new MalformedBytes(`not a list of up to ${MAX_KEYS} keys`);
  const keys = new Map<string, TokenKey>();
  for (const item of listed as readonly unknown[]) {
    if (!isObject(item)) throw new MalformedBytes('a key that is no object');
    const { kid, use } = item;
    const algorithm = algorithmOf(item, algorithms);
    if (algorithm === undefined || typeof kid !== 'string' || (use !== undefined && use !== 'sig')) continue;
    const members = Object.entries(item).filter(
      ([name]) => !IGNORED.has(name) || (name === 'alg' && item['kty'] === 'AKP'),
    );
    const { publicKey } = readPublicJwk(algorithm, Object.fromEntries(members));
    if (keys.has(kid)) throw new MalformedBytes(`${quoted(kid)} is there twice`);
    keys.set(kid, Object.freeze({ kid, algorithm, publicKey }));
  }
  return keys;
}

/** What the key says it is for, or the only agreed algorithm of its type. */
function algorithmOf(
  { alg, kty }: Readonly<Record<string, unknown>>,
  algorithms: readonly AssertionAlgorithm[],
): AssertionAlgorithm | undefined {
  if (typeof alg === 'string') return isAssertionAlgorithm(alg) && algorithms.includes(alg) ? alg : undefined;
  const fitting = algorithms.filter((name) => KEY_TYPES[name] === kty);
  return fitting.length === 1 ? fitting[0] : undefined;
}

const KEY_TYPES: Readonly<Record<AssertionAlgorithm, string>> = {
  ES256: 'EC',
  EdDSA: 'OKP',
  Ed25519: 'OKP',
  PS256: 'RSA',
  RS256: 'RSA',
  'ML-DSA-65': 'AKP',
};
