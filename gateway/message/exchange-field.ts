import { inBase64, inBase64url } from '../core/bytes.ts';
import { Denied, quoted } from '../core/errors.ts';
import type { EpochMs } from '../core/clock.ts';
import type { ExchangeId } from '../core/ids.ts';

export type Mode = 'full' | 'stream';

/** `T-Road-Exchange`: what belongs to which exchange, between whom. A structured dictionary (RFC 9651) in one spelling. */
export interface ExchangeField {
  readonly id: ExchangeId;
  readonly mode: Mode;
  /** Names of the sending and the receiving gateway. */
  readonly from: string;
  readonly to: string;
  readonly at: EpochMs;
  /** Content length in bytes, when known before the body. */
  readonly length?: number | undefined;
}

export const EXCHANGE = 't-road-exchange';
export const END = 't-road-end';

// Of 22 characters of base64 the last has two bits of 16 bytes; a number has no leading zero. So no value has a second
// spelling, and what matches is what formatExchange writes.
const FIELD =
  /^v=1, id=:([A-Za-z0-9+/]{21}[AQgw])==:, mode=(full|stream), from="([a-z0-9.-]{1,255})", to="([a-z0-9.-]{1,255})", at=(0|[1-9]\d{0,14})(?:, len=(0|[1-9]\d{0,14}))?$/;

export function formatExchange(field: ExchangeField): string {
  const length = field.length === undefined ? '' : `, len=${field.length}`;
  return `v=1, id=:${inBase64(field.id)}==:, mode=${field.mode}, from="${field.from}", to="${field.to}", at=${field.at}${length}`;
}

/**
 * Accepts exactly what {@link formatExchange} writes.
 * @throws Denied `message.inconsistent`
 */
export function parseExchange(text: string | undefined): ExchangeField {
  // Whoever addresses an answer, and whoever verifies the message, read the same one after the other.
  if (text === undefined || text !== lastRead?.text) lastRead = { text, field: readExchange(text) };
  return lastRead.field;
}

let lastRead: { readonly text: string | undefined; readonly field: ExchangeField } | undefined;

function readExchange(text: string | undefined): ExchangeField {
  const match = FIELD.exec(text ?? '');
  if (match === null) throw new Denied('message.inconsistent', `${EXCHANGE}: ${quoted(text ?? '')}`);
  const [, id64 = '', mode, from = '', to = '', at, length] = match;
  return {
    id: inBase64url(id64) as ExchangeId, // the expression above says so
    mode: mode === 'full' ? 'full' : 'stream',
    from,
    to,
    at: Number(at),
    length: length === undefined ? undefined : Number(length),
  };
}

/** `T-Road-End` (trailer): how long the content was. Present only at a good end. */
export const formatEnd = (length: number): string => `len=${length}, ok`;

/** @throws Denied `message.completion` */
export function parseEnd(text: string | undefined): number {
  const length = /^len=(\d{1,15}), ok$/.exec(text ?? '')?.[1];
  if (length === undefined || formatEnd(Number(length)) !== text) {
    throw new Denied('message.completion', `${END}: ${quoted(text ?? 'absent')}`);
  }
  return Number(length);
}
