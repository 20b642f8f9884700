import { Denied, MalformedBytes, quoted } from '../core/errors.ts';
import type { Field, Fields } from '../core/fields.ts';
import type { RequestHead } from '../core/head.ts';
import { linkFields } from '../message/headers.ts';
import { broken } from './failures.ts';
import type { LinkBody, LinkRawHead } from './link.ts';

/** Fields that belong to one connection or to the framing. They mean nothing to policy, signature or service. */
const TRANSPORT = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'http2-settings',
  'host',
  'content-length',
]);

/**
 * Those that frame a message. The others say nothing that anybody here would act on, and nothing covers them: they stay
 * where they stand, and are refused with all that may not travel.
 */
const H2_FRAMING: ReadonlySet<string> = new Set(['content-length']);
export const H1_FRAMING: ReadonlySet<string> = new Set([
  'host',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
]);

/** True for a field of the connection or of the framing, pseudo-header fields included. */
export const isTransport = (name: string): boolean => TRANSPORT.has(name) || name.startsWith(':');

/** Methods for which an empty content is not announced on HTTP/1.1 (RFC 9110 §8.6). */
const BODYLESS_METHODS = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS']);

/** Answers that end with their head whatever they announce (RFC 9110 §6.4.1). */
export function isBodyless(method: string, status: number): boolean {
  return method === 'HEAD' || status === 204 || status === 205 || status === 304;
}

/** @throws Unavailable `link.broken` for a status that no answer has: interim ones do not get here, others mean nothing */
export function requireStatus(status: number): void {
  if (!Number.isInteger(status) || status < 200 || status > 599) throw broken(`status ${status}`);
}

const NOTHING = Buffer.alloc(0);

/**
 * What goes with an answer's head; undefined for a stream. An answer that ends with its head has no content, whatever
 * was meant to be in it.
 * @throws Error for a stream where none can be
 */
export function wholeOf(body: LinkBody, bodyless: boolean): Buffer | undefined {
  if (!bodyless) return body.kind === 'whole' ? body.bytes : undefined;
  if (body.kind === 'stream') throw new Error('a stream where there can be no content');
  return NOTHING;
}

export function needsLength(method: string): boolean {
  return !BODYLESS_METHODS.has(method);
}

/**
 * Appends fields to a flat list of names and values.
 * @throws Error for a field that is the transport's own: whoever set it believed that it would arrive
 */
export function appendFields(flat: string[], fields: Fields): string[] {
  for (const [name, value] of fields) {
    if (isTransport(name)) throw new Error(`field of the transport: ${quoted(name)}`);
    flat.push(name, value);
  }
  return flat;
}

/** The field section of an HTTP/2 request. */
export function h2Request(head: RequestHead): string[] {
  return appendFields(
    [
      ':method',
      head.method,
      ':scheme',
      'https',
      ':authority',
      head.authority,
      ':path',
      head.path + head.query,
    ],
    head.fields,
  );
}

/** Fields of a received section without pseudo-header fields and without those that framed it. Names in lower case. */
export function contentFields(flat: readonly string[], framing = H2_FRAMING): Field[] {
  const fields: Field[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = (flat[i] ?? '').toLowerCase();
    if (name.startsWith(':') || framing.has(name)) continue;
    fields.push([name, flat[i + 1] ?? '']);
  }
  return fields;
}

function contentOf(
  flat: readonly string[],
  framing?: ReadonlySet<string>,
): Pick<LinkRawHead, 'fields' | 'canonical'> {
  const fields = contentFields(flat, framing);
  return { fields, canonical: () => linkFields(fields) };
}

/**
 * Trailers, canonical. One named like a framing field (attack catalogue H08) is not dropped but refused.
 * @throws Denied `message.completion` | `header.*`
 */
export function readTrailers(flat: readonly string[]): Fields {
  const lines = contentFields(flat);
  if (lines.length === 0) throw new Denied('message.completion', 'the body ended without trailers');
  if (lines.length * 2 !== flat.length || lines.some(([name]) => isTransport(name)))
    throw new Denied('message.completion', 'a trailer of the transport');
  return linkFields(lines);
}

/** Values of one field of a received section, in order. */
export function valuesOf(flat: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    if ((flat[i] ?? '').toLowerCase() === name) values.push(flat[i + 1] ?? '');
  }
  return values;
}

/**
 * Content-Length of a received section. Both parsers refuse bad and repeated ones; this asks again, because the number
 * decides whether a message is complete.
 * @throws MalformedBytes
 */
export function lengthOf(flat: readonly string[]): number | undefined {
  const [text, ...more] = valuesOf(flat, 'content-length');
  if (text === undefined) return undefined;
  if (more.length > 0 || !/^\d{1,15}$/.test(text)) throw new MalformedBytes('content-length');
  return Number(text);
}

/**
 * Head of an HTTP/2 request. nghttp2 has refused repeated pseudo-headers, upper case, connection-specific fields and
 * control characters; CONNECT and a second name for the host are left for us.
 * @throws MalformedBytes
 */
export function readH2Head(flat: readonly string[]): LinkRawHead {
  const [method] = valuesOf(flat, ':method');
  const [authority] = valuesOf(flat, ':authority');
  const [path] = valuesOf(flat, ':path');
  if (method === undefined || authority === undefined || path === undefined || method === 'CONNECT') {
    throw new MalformedBytes('pseudo-header fields');
  }
  // RFC 9113 §8.3.1: a Host that differs from :authority is malformed. Ours send none, so none is the one spelling.
  if (valuesOf(flat, 'host').length > 0) throw new MalformedBytes('host beside :authority');
  return { method, authority, path, ...contentOf(flat), length: lengthOf(flat) };
}

/**
 * Head of an HTTP/1.1 request, from the lines that the parser accepted. Refused here is what llhttp lets pass.
 * @throws MalformedBytes
 */
export function readH1Head(
  method: string,
  target: string,
  version: string,
  flat: readonly string[],
): LinkRawHead {
  if (version !== '1.1') throw new MalformedBytes(`HTTP/${version}`);
  const hosts = valuesOf(flat, 'host');
  const [authority] = hosts;
  if (authority === undefined || hosts.length > 1) throw new MalformedBytes('host');
  if (!target.startsWith('/')) throw new MalformedBytes('request target');
  requirePlainFraming(flat);
  return {
    method,
    authority: authority.toLowerCase(),
    path: target,
    ...contentOf(flat, H1_FRAMING),
    length: lengthOf(flat),
  };
}

/**
 * @throws MalformedBytes when the message is framed in any way but Content-Length or plain chunked, or asks for another
 *   protocol
 */
export function requirePlainFraming(flat: readonly string[]): void {
  for (const coding of valuesOf(flat, 'transfer-encoding')) {
    if (coding.toLowerCase() !== 'chunked') throw new MalformedBytes('transfer-encoding');
  }
  if (valuesOf(flat, 'upgrade').length > 0) throw new MalformedBytes('upgrade');
  for (const list of valuesOf(flat, 'connection')) {
    for (const token of list.split(',')) {
      // A token that names an end-to-end field asks a hop to lose it.
      if (!/^\s*(?:keep-alive|close)?\s*$/i.test(token)) throw new MalformedBytes('connection');
    }
  }
}

export const isChunked = (flat: readonly string[]): boolean => valuesOf(flat, 'transfer-encoding').length > 0;
