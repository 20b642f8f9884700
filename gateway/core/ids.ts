import { randomBytes } from 'node:crypto';
import { base64url, fromBase64url } from './bytes.ts';

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

function parseId(text: string, parts: number): string | undefined {
  const split = text.split('/');
  return split.length === parts && split.every(isCanonicalPart) ? text : undefined;
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
  return fromBase64url(text)?.length === 16 ? (text as ExchangeId) : undefined;
}

/** The same 128 bits as a UUID (RFC 9562 version 8 layout is not forced: X-Road asks for the shape only). */
export function toUuid(id: ExchangeId): string {
  const hex = Buffer.from(id, 'base64url').toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
