import { MalformedBytes, quoted } from '../core/errors.ts';
import type { Fields, PlainField } from '../core/fields.ts';
import type { RequestHead, ResponseHead } from '../core/head.ts';
import { isPlain, pieceOf } from '../core/plain-text.ts';
import { plainLinkFields } from '../message/headers.ts';
import { isTransport } from './framing.ts';
import type { LinkRawHead } from './link.ts';

/**
 * Heads and trailers in `troad/1`: a table of lengths, then all text in one piece, so that either side touches it with
 * one call. Nothing is compressed, and no state outlives a frame.
 *
 *     request:  bytes of the body (64) | bytes of path and query (16) | of method (8) | of authority (8) | fields | text
 *     answer:   bytes of the body (64) | status (16) | 0 (8) | 0 (8) | fields | text
 *     trailers: fields | text
 *     fields:   count (8), then for each: name (8) | bytes of value (16)
 *
 * The text is method, authority, path, then each field. A name is the number of its bytes in the text, or 128 + its
 * place in NAMES and then no text.
 */

/** Both halves of the body's length when it is not known: trailers end it. */
const UNKNOWN = 0xffff_ffff;
const LEAD_BYTES = 12;

/** Names that need not be spelled. The order is part of `troad/1`: append only with another version. */
const NAMES: readonly string[] = [
  'accept',
  'accept-encoding',
  'accept-language',
  'authorization',
  'cache-control',
  'content-digest',
  'content-encoding',
  'content-language',
  'content-type',
  'date',
  'dpop',
  'dpop-nonce',
  'etag',
  'if-match',
  'if-none-match',
  'last-modified',
  'location',
  'retry-after',
  'signature',
  'signature-input',
  't-road-agreement',
  't-road-assertion',
  't-road-device',
  't-road-end',
  't-road-exchange',
  't-road-node',
  't-road-policy',
  't-road-purpose',
  't-road-user',
  'vary',
  'www-authenticate',
  'x-road-client',
  'x-road-error',
  'x-road-id',
  'x-road-issue',
  'x-road-represented-party',
  'x-road-request-hash',
  'x-road-request-id',
  'x-road-security-server',
  'x-road-service',
  'x-road-userid',
];
const PLACE_OF: ReadonlyMap<string, number> = new Map(NAMES.map((name, place) => [name, 128 + place]));

const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const PATH = /^\/[\x21-\x7e]*$/;
const AUTHORITY = /^[\x21-\x7e]+$/;
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;

/** What one side accepts in a head. */
export interface HeadLimits {
  /** Names, values and 32 a field; also the longest payload. */
  readonly headBytes: number;
  readonly fields: number;
}

/** What stands in front of the fields of a HEAD. */
interface Lead {
  /** Bytes of the body; undefined = it ends with trailers. */
  readonly length: number | undefined;
  /** Bytes of path and query, or the status. */
  readonly first: number;
  readonly method: number;
  readonly authority: number;
}

/** A payload of HEAD or TRAILERS, checked and measured, to be written where there is room for `bytes`. */
export class EncodedHead {
  readonly bytes: number;
  readonly #lead: Lead | undefined;
  readonly #fields: Fields;
  readonly #text: string;

  private constructor(lead: Lead | undefined, line: string, fields: Fields, limits: HeadLimits) {
    let text = line;
    let size = line.length;
    for (const [name, value] of fields) {
      if (PLACE_OF.has(name)) text += value;
      // Whoever set a field of the transport believed that it would arrive.
      else if (isTransport(name)) throw new Error(`field of the transport: ${quoted(name)}`);
      else if (name.length > 127 || !NAME.test(name)) throw new Error(`field name: ${quoted(name)}`);
      else text += name + value;
      size += name.length + value.length + 32;
    }
    if (!isPlain(text)) throw new Error('a head holds a character that cannot be sent');
    const bytes = (lead === undefined ? 0 : LEAD_BYTES) + 1 + 3 * fields.length + text.length;
    if (fields.length > limits.fields || size > limits.headBytes || bytes > limits.headBytes) {
      throw new Error(`${fields.length} fields and ${size} bytes: more than the other side takes in a head`);
    }
    this.bytes = bytes;
    this.#lead = lead;
    this.#fields = fields;
    this.#text = text;
  }

  /** @throws Error when it cannot be sent, or is more than the other side takes */
  static request(head: RequestHead, length: number | undefined, limits: HeadLimits): EncodedHead {
    const path = head.path + head.query;
    const lead = { length, first: path.length, method: head.method.length, authority: head.authority.length };
    if (lead.method > 255 || lead.authority > 255 || !METHOD.test(head.method) || !PATH.test(path)) {
      throw new Error('a request line that cannot be sent');
    }
    return new EncodedHead(lead, head.method + head.authority + path, head.fields, limits);
  }

  /** @throws Error as `request` */
  static answer(head: ResponseHead, length: number | undefined, limits: HeadLimits): EncodedHead {
    return new EncodedHead({ length, first: head.status, method: 0, authority: 0 }, '', head.fields, limits);
  }

  /** @throws Error as `request` */
  static trailers(fields: Fields, limits: HeadLimits): EncodedHead {
    return new EncodedHead(undefined, '', fields, limits);
  }

  /** @returns the offset behind it */
  write(into: Buffer, at: number): number {
    const lead = this.#lead;
    let to = at;
    if (lead !== undefined) {
      to = into.writeUInt32BE(lead.length === undefined ? UNKNOWN : Math.floor(lead.length / 2 ** 32), to);
      to = into.writeUInt32BE(lead.length === undefined ? UNKNOWN : lead.length % 2 ** 32, to);
      to = into.writeUInt16BE(lead.first, to);
      into[to++] = lead.method;
      into[to++] = lead.authority;
    }
    into[to++] = this.#fields.length;
    for (const [name, value] of this.#fields) {
      into[to++] = PLACE_OF.get(name) ?? name.length;
      to = into.writeUInt16BE(value.length, to);
    }
    return to + into.write(this.#text, to, 'latin1');
  }
}

/** @throws MalformedBytes */
export function decodeRequest(bytes: Buffer, from: number, to: number, limits: HeadLimits): LinkRawHead {
  const length = readLength(bytes, from);
  const pathBytes = bytes.readUInt16BE(from + 8);
  const methodBytes = bytes.readUInt8(from + 10);
  const authorityBytes = bytes.readUInt8(from + 11);
  const lineBytes = methodBytes + authorityBytes + pathBytes;
  const { line, fields } = decodeFields(bytes, from + LEAD_BYTES, to, lineBytes, limits);
  const method = line.slice(0, methodBytes);
  const authority = line.slice(methodBytes, methodBytes + authorityBytes);
  const path = line.slice(methodBytes + authorityBytes);
  if (!METHOD.test(method) || method === 'CONNECT' || !AUTHORITY.test(authority) || !PATH.test(path)) {
    throw new MalformedBytes('request line');
  }
  return { method, authority, path, fields, canonical: () => plainLinkFields(fields), length };
}

/** @throws MalformedBytes */
export function decodeAnswer(
  bytes: Buffer,
  from: number,
  to: number,
  limits: HeadLimits,
): { readonly status: number; readonly fields: PlainField[]; readonly length: number | undefined } {
  const length = readLength(bytes, from);
  const status = bytes.readUInt16BE(from + 8);
  // Nothing is announced before an answer here, so there is no 1xx.
  if (status < 200 || status > 599 || bytes.readUInt16BE(from + 10) !== 0) throw new MalformedBytes('status');
  const { fields } = decodeFields(bytes, from + LEAD_BYTES, to, 0, limits);
  return { status, fields, length };
}

/** @throws MalformedBytes */
export function decodeTrailers(bytes: Buffer, from: number, to: number, limits: HeadLimits): PlainField[] {
  const { fields } = decodeFields(bytes, from, to, 0, limits);
  if (fields.length === 0) throw new MalformedBytes('no trailers');
  return fields;
}

function readLength(bytes: Buffer, from: number): number | undefined {
  const high = bytes.readUInt32BE(from);
  const low = bytes.readUInt32BE(from + 4);
  if (high === UNKNOWN && low === UNKNOWN) return undefined;
  const length = high * 2 ** 32 + low;
  if (!Number.isSafeInteger(length)) throw new MalformedBytes('length of the body');
  return length;
}

/** The field table at `from` and the text behind it, which begins with `lineBytes` that are no field and ends at `to`. */
function decodeFields(
  bytes: Buffer,
  from: number,
  to: number,
  lineBytes: number,
  limits: HeadLimits,
): { readonly line: string; readonly fields: PlainField[] } {
  const count = bytes[from] ?? 0;
  const textAt = from + 1 + 3 * count;
  if (count > limits.fields || textAt + lineBytes > to) throw new MalformedBytes('field table');
  const text = bytes.toString('latin1', textAt, to);
  if (!isPlain(text)) throw new MalformedBytes('a character that no field may hold');
  const fields: PlainField[] = [];
  let at = lineBytes;
  let size = lineBytes;
  for (let i = from + 1; i < textAt; i += 3) {
    const code = bytes[i] ?? 0;
    const named = code < 128 ? text.slice(at, at + code) : NAMES[code - 128];
    if (named === undefined || (code < 128 && !NAME.test(named))) throw new MalformedBytes('field name');
    if (code < 128) {
      if (isTransport(named)) throw new MalformedBytes('a field of the transport');
      at += code;
    }
    const end = at + bytes.readUInt16BE(i + 1);
    if (end > text.length) throw new MalformedBytes('field table');
    fields.push([named, pieceOf(text, at, end)]);
    size += named.length + end - at + 32;
    at = end;
  }
  if (at !== text.length || size > limits.headBytes) throw new MalformedBytes('text of a head');
  return { line: text.slice(0, lineBytes), fields };
}
