import { randomBytes } from 'node:crypto';
import { base64url } from './bytes.ts';

/** `instance/class/member`, each part percent-encoded as in an X-Road URL. */
export type MemberId = string & { readonly member: never };
/** `instance/class/member/subsystem`. */
export type SubsystemId = string & { readonly subsystem: never };
/** `instance/class/member/subsystem/service`. */
export type ServiceId = string & { readonly service: never };

/**
 * One part of an X-Road identifier as it stands in a URL: unreserved characters (RFC 3986 §2.3) as they are, all
 * else percent-encoded in upper case. One identifier has one spelling, so comparing bytes compares identifiers.
 */
function isCanonicalPart(part: string): boolean {
  if (part === '' || part.length > 255 || part === '.' || part === '..') return false;
  if (/^[A-Za-z0-9._~-]+$/.test(part)) return true; // as nearly all are: stands for itself
  if (!/^(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+$/.test(part)) return false;
  if (!part.includes('%')) return true; // unreserved characters only: nothing to decode
  try {
    const text = decodeURIComponent(part);
    // X-Road lets a slash stand inside a part as %2F. Whatever else could start a second reading is refused.
    return !/[\u0000-\u001f\u007f\\%;?#]/.test(text) && encodePart(text) === part;
  } catch {
    return false; // not UTF-8 behind the percent signs
  }
}

/** Spells one identifier part for a URL. `encodeURIComponent` leaves `!'()*` alone; RFC 3986 reserves them. */
export function encodePart(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** Identifiers that were read: nearly all that come have come before. Bounded. */
const known = new Map<string, { readonly id: string; readonly parts: number }>();
const MAX_KNOWN = 1024;
const MAX_KNOWN_LENGTH = 256;

function parseId(text: string, parts: number): string | undefined {
  const before = known.get(text);
  if (before !== undefined) return before.parts === parts ? before.id : undefined;
  const split = text.split('/');
  if (!split.every(isCanonicalPart)) return undefined;
  if (text.length <= MAX_KNOWN_LENGTH) {
    if (known.size >= MAX_KNOWN) known.clear();
    // A copy: the text may be a window on all that came with it.
    const id = Buffer.from(text, 'latin1').toString('latin1');
    known.set(id, { id, parts: split.length });
  }
  return split.length === parts ? text : undefined;
}

/** The identifier, or undefined when the text is not one in its only spelling. */
export const parseMemberId = (text: string): MemberId | undefined => parseId(text, 3) as MemberId | undefined;
export const parseSubsystemId = (text: string): SubsystemId | undefined =>
  parseId(text, 4) as SubsystemId | undefined;
export const parseServiceId = (text: string): ServiceId | undefined =>
  parseId(text, 5) as ServiceId | undefined;

export const memberOf = (id: SubsystemId | ServiceId): MemberId => firstParts(id, 3) as MemberId;
export const subsystemOf = (id: ServiceId): SubsystemId => firstParts(id, 4) as SubsystemId;
export const serviceCodeOf = (id: ServiceId): string => id.slice(id.lastIndexOf('/') + 1);

/** An id has more parts than are asked for, or as many. */
function firstParts(id: string, parts: number): string {
  let end = -1;
  for (let part = 0; part < parts; part++) {
    end = id.indexOf('/', end + 1);
    if (end < 0) return id;
  }
  return id.slice(0, end);
}

/** 128 bits that name one exchange at both gateways: RFC 9421 nonce, log key, X-Road request id. Base64url, 22 characters. */
export type ExchangeId = string & { readonly exchange: never };

/** A fresh exchange id. Randomness is an argument so that tests can repeat it. */
export function newExchangeId(random: (bytes: number) => Buffer = randomBytes): ExchangeId {
  return base64url(random(16)) as ExchangeId;
}

/** The id in its one spelling, or undefined. */
export function parseExchangeId(text: string): ExchangeId | undefined {
  // 16 bytes in base64url: of the last character the lower four bits stand for nothing.
  return /^[\w-]{21}[AQgw]$/.test(text) ? (text as ExchangeId) : undefined;
}

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
/** Six bits of each character of {@link BASE64URL}. */
const SIX = new Uint8Array(128);
for (let value = 0; value < 64; value++) SIX[BASE64URL.charCodeAt(value)] = value;
const HEX = Buffer.from('0123456789abcdef', 'latin1');
/** Two characters of an id are three digits; of the last three one is always 0, and there is no place for it. */
const DIGITS = 33;
/** Where each digit of a UUID stands. */
const AT = Uint8Array.from({ length: DIGITS }, (_, digit) =>
  [8, 12, 16, 20].reduce((at, dash) => at + Number(digit >= dash), digit),
);
const uuid = Buffer.alloc(37, '-');

/** The same 128 bits as a UUID (RFC 9562 version 8 layout is not forced: X-Road asks for the shape only). */
export function toUuid(id: ExchangeId): string {
  for (let i = 0, digit = 0; i < 22; i += 2, digit += 3) {
    const bits = ((SIX[id.charCodeAt(i)] ?? 0) << 6) | (SIX[id.charCodeAt(i + 1)] ?? 0);
    uuid[AT[digit] ?? 0] = HEX[bits >> 8] ?? 0;
    uuid[AT[digit + 1] ?? 0] = HEX[(bits >> 4) & 15] ?? 0;
    uuid[AT[digit + 2] ?? 0] = HEX[bits & 15] ?? 0;
  }
  return uuid.toString('latin1', 0, 36);
}
