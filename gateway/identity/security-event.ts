import type { EpochSeconds } from '../core/clock.ts';
import { MalformedBytes, quoted } from '../core/errors.ts';
import { isAssertionAlgorithm } from './algorithm.ts';
import { isObject, parseObject, type JsonObject } from './json.ts';
import type { TokenKey } from './jwk.ts';
import { hasOnly, isSignedBy, parseCompact } from './jws.ts';

const MAX_LENGTH = 16 * 1024;
const HEADER: ReadonlySet<string> = new Set(['alg', 'kid', 'typ']);
/** How far a transmitter's clock may run ahead, and how late a delivery may be. Seconds. */
const SKEW_S = 30;
const MAX_DELAY_S = 12 * 3600;

const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/';
const VERIFICATION = 'https://schemas.openid.net/secevent/ssf/event-type/verification';

/** Error codes of RFC 8935 §2.4. */
export type SecurityEventError = 'invalid_request' | 'invalid_key' | 'invalid_issuer' | 'invalid_audience';

/** Why a security event was not taken: the transmitter is told the code, and the operator the rest. */
export class SecurityEventRefused extends Error {
  override readonly name = 'SecurityEventRefused';
  readonly code: SecurityEventError;
  constructor(code: SecurityEventError, detail: string, options?: { cause?: unknown }) {
    super(detail, options);
    this.code = code;
  }
}

/** A machine, as the attestation service that knows it names it. */
export interface NamedDevice {
  readonly attestor: string;
  readonly name: string;
}

export interface SignalIssuers {
  /** Keys for shared signals of an issuer; undefined when nobody of that name is registered. */
  signalKeys(issuer: string): readonly TokenKey[] | undefined;
  /** Whether an issuer may end results of that attestation service: both speak for a member in common. */
  maySpeakOfDevices(issuer: string, attestor: string): boolean;
}

/** `ended`: what the subject authenticated, or was attested of the device, before `at` counts no longer. `nothing`: understood, and no reason to act. */
export type SecurityEffect = 'ended' | 'nothing';

/**
 * Proof that an issuer said something about one of its users: a security event token (RFC 8417) in the profile of the
 * Shared Signals Framework, with the events of CAEP.
 */
export class SecurityEvent {
  declare protected readonly nominal: never;
  readonly issuer: string;
  readonly jti: string;
  readonly issuedAt: EpochSeconds;
  /** For example `session-revoked`. */
  readonly type: string;
  readonly effect: SecurityEffect;
  /** When it happened; never later than it was said. By the issuer's clock, as `auth_time` is. */
  readonly at: EpochSeconds;
  /** Whose sessions; undefined together with `session` for events about the stream itself. */
  readonly subject: string | undefined;
  /** One session only. */
  readonly session: string | undefined;
  /** Instead of a user: the machine whose results end. */
  readonly device: NamedDevice | undefined;

  private constructor(
    facts: Pick<
      SecurityEvent,
      'issuer' | 'jti' | 'issuedAt' | 'type' | 'effect' | 'at' | 'subject' | 'session' | 'device'
    >,
  ) {
    this.issuer = facts.issuer;
    this.jti = facts.jti;
    this.issuedAt = facts.issuedAt;
    this.type = facts.type;
    this.effect = facts.effect;
    this.at = facts.at;
    this.subject = facts.subject;
    this.session = facts.session;
    this.device = facts.device;
  }

  /** @param audience ours: `https://` and the gateway's name. @throws SecurityEventRefused */
  static verify(text: string, audience: string, issuers: SignalIssuers, now: EpochSeconds): SecurityEvent {
    if (text.length > MAX_LENGTH)
      throw new SecurityEventRefused('invalid_request', `${text.length} characters`);
    const { jws, claims } = read(text);
    const { typ, alg, kid } = jws.header;
    if (typ !== 'secevent+jwt') throw new SecurityEventRefused('invalid_request', 'typ is not secevent+jwt');
    if (
      typeof alg !== 'string' ||
      !isAssertionAlgorithm(alg) ||
      typeof kid !== 'string' ||
      !hasOnly(jws.header, HEADER)
    )
      throw new SecurityEventRefused('invalid_request', 'header is not alg, kid and typ');
    const { iss } = claims;
    const keys = typeof iss === 'string' ? issuers.signalKeys(iss) : undefined;
    if (typeof iss !== 'string' || keys === undefined)
      throw new SecurityEventRefused('invalid_issuer', 'iss is not registered');
    // One that speaks for several members has a row for each, and perhaps two keys of one id.
    if (!keys.some((key) => key.kid === kid && key.algorithm === alg && isSignedBy(key, jws)))
      throw new SecurityEventRefused('invalid_key', `key ${quoted(kid)} of ${quoted(iss)}`);
    requireForUs(claims['aud'], audience);
    // SSF 1.0 §4.1.2: an event is not an assertion, and must not be usable as one.
    if (claims['sub'] !== undefined || claims['exp'] !== undefined)
      throw new SecurityEventRefused('invalid_request', 'sub or exp is present');
    const { jti, iat } = claims;
    if (typeof jti !== 'string' || jti === '' || jti.length > 200)
      throw new SecurityEventRefused('invalid_request', 'jti is not text');
    const issuedAt = requireTime(iat, now);
    const { type, event } = soleEvent(claims['events']);
    const common = { issuer: iss, jti, issuedAt, type };
    if (type === 'verification')
      return new SecurityEvent({
        ...common,
        effect: 'nothing',
        at: issuedAt,
        subject: undefined,
        session: undefined,
        device: undefined,
      });
    const effect = effectOf(type, event);
    const about = subjectOf(claims, event, type, iss);
    if (about.device !== undefined && !issuers.maySpeakOfDevices(iss, about.device.attestor))
      throw new SecurityEventRefused(
        'invalid_request',
        `the registry has no attestation service ${quoted(about.device.attestor)} for a member of the issuer`,
      );
    return new SecurityEvent({
      ...common,
      effect,
      at: happenedAt(event, issuedAt),
      ...about,
    });
  }
}

function read(text: string) {
  try {
    const jws = parseCompact(text);
    return { jws, claims: parseObject(jws.payload) };
  } catch (cause) {
    if (!(cause instanceof MalformedBytes)) throw cause;
    throw new SecurityEventRefused('invalid_request', cause.message, { cause });
  }
}

/** One transmitter may have one stream for several gateways of an agency: a list that names us will do. */
function requireForUs(aud: unknown, audience: string): void {
  const named = Array.isArray(aud) ? aud.includes(audience) : aud === audience;
  if (!named) throw new SecurityEventRefused('invalid_audience', `aud is not ${audience}`);
}

function requireTime(iat: unknown, now: EpochSeconds): EpochSeconds {
  if (typeof iat !== 'number' || !Number.isSafeInteger(iat) || iat > now + SKEW_S || now - iat > MAX_DELAY_S)
    throw new SecurityEventRefused('invalid_request', 'iat is in the future or half a day ago');
  return iat;
}

/** Exactly one: the profile says so, and of two the one that was not understood would be lost. */
function soleEvent(events: unknown): { readonly type: string; readonly event: JsonObject } {
  const [only, ...more] = isObject(events) ? Object.entries(events) : [];
  if (only === undefined || more.length > 0 || !isObject(only[1]))
    throw new SecurityEventRefused('invalid_request', 'not exactly one event');
  const [uri, event] = [only[0], only[1]];
  if (uri === VERIFICATION) return { type: 'verification', event };
  return { type: uri.startsWith(CAEP) ? uri.slice(CAEP.length) : 'unknown', event };
}

function effectOf(type: string, event: JsonObject): SecurityEffect {
  switch (type) {
    case 'session-revoked':
    case 'credential-change':
      return 'ended';
    case 'device-compliance-change':
      // What the user authenticated on a machine that is not as it should be. Back to compliant ends nothing.
      return event['current_status'] === 'compliant' ? 'nothing' : 'ended';
    case 'assurance-level-change':
      // Upwards is no reason to end anything; anything but the word is.
      return event['change_direction'] === 'increase' ? 'nothing' : 'ended';
    default:
      return 'nothing'; // RFC 8417 §2.2: events that a receiver does not know are ignored
  }
}

/**
 * CAEP §2: `event_timestamp` in seconds, when it happened. One in the future would end what is yet to begin: nothing
 * happens after it was said. Our own clock has no say here. Where the issuer's is ahead of it by what is tolerated, its users
 * authenticated in our future, and would outlive the end of their sessions.
 */
function happenedAt(event: JsonObject, issuedAt: EpochSeconds): EpochSeconds {
  const { event_timestamp: at } = event;
  const seconds = typeof at === 'number' && Number.isFinite(at) && at > 0 ? Math.ceil(at) : issuedAt;
  return Math.min(seconds, issuedAt);
}

/**
 * Subject identifiers (RFC 9493) that name a user or a session of the very issuer. With another's in it, one transmitter
 * could sign out the users of all.
 */
function subjectOf(
  claims: JsonObject,
  event: JsonObject,
  type: string,
  issuer: string,
): Pick<SecurityEvent, 'subject' | 'session' | 'device'> {
  const id = claims['sub_id'] ?? event['subject'];
  if (!isObject(id)) throw new SecurityEventRefused('invalid_request', 'no sub_id');
  const complex = id['format'] === 'complex';
  const subject = userOf(complex ? id['user'] : id, issuer);
  const session = complex ? sessionOf(id['session']) : undefined;
  if (subject !== undefined || session !== undefined) return { subject, session, device: undefined };
  // A session that is none of ours narrows the subject: to end the machine for everybody would be more than was said.
  const isDevice = complex && type === 'device-compliance-change' && Object.keys(id).length === 2;
  const device = isDevice ? deviceOf(id['device']) : undefined;
  if (device === undefined)
    throw new SecurityEventRefused(
      'invalid_request',
      'sub_id names no user, session or device of the issuer',
    );
  return { subject, session, device };
}

/** CAEP has no format of its own for machines: theirs is the issuer of their results, and the name in them. */
function deviceOf(id: unknown): NamedDevice | undefined {
  if (!isObject(id) || id['format'] !== 'iss_sub') return undefined;
  const { iss: attestor, sub: name } = id;
  return isName(attestor) && isName(name) ? { attestor, name } : undefined;
}

const isName = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= 255;

function userOf(id: unknown, issuer: string): string | undefined {
  if (!isObject(id) || id['format'] !== 'iss_sub' || id['iss'] !== issuer) return undefined;
  const { sub } = id;
  return isName(sub) ? sub : undefined;
}

function sessionOf(id: unknown): string | undefined {
  if (!isObject(id) || id['format'] !== 'opaque') return undefined;
  const { id: session } = id;
  return isName(session) ? session : undefined;
}
