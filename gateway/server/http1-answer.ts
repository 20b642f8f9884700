import { STATUS_CODES } from 'node:http';
import type { Fields } from '../core/fields.ts';
import type { ResponseHead } from '../core/head.ts';
import type { AnswerBody } from '../exchange/arrival.ts';
import { requireFieldText } from '../http1/field-line.ts';
import { formatFields } from '../http1/message-writer.ts';

/** How the end of the content is told (RFC 9112 §6.3). Never by closing: that looks the same as breaking off. */
export type AnswerFraming =
  | { readonly kind: 'none'; readonly announced?: number }
  | { readonly kind: 'counted'; readonly length: number }
  | { readonly kind: 'chunked' };

/** Fields this hop decides alone. */
const OWN_FIELDS = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export function framingOf(method: string, status: number, body: AnswerBody): AnswerFraming {
  const length = body.kind === 'whole' ? body.bytes.length : body.length;
  if (status === 204) return { kind: 'none' }; // RFC 9110 §8.6: not even a length
  if (method === 'HEAD' || status === 304) {
    return length === undefined ? { kind: 'none' } : { kind: 'none', announced: length };
  }
  if (body.kind === 'none') return { kind: 'none', announced: 0 };
  return length === undefined ? { kind: 'chunked' } : { kind: 'counted', length };
}

/** The fields that go out as they are. @throws Error when one could start another line, in whatever protocol follows */
export function carriedFields(fields: Fields): Fields {
  const carried = fields.filter(([name]) => !OWN_FIELDS.has(name));
  requireFieldText(carried);
  return carried;
}

/** Status line and field lines, with the empty line. @throws Error like {@link carriedFields} */
export function formatHead(head: ResponseHead, framing: AnswerFraming, closes: boolean): string {
  const carried = formatFields(head.fields.filter(([name]) => !OWN_FIELDS.has(name)));
  let text = `HTTP/1.1 ${head.status} ${STATUS_CODES[head.status] ?? ''}\r\n${carried}`;
  if (framing.kind === 'chunked') text += 'transfer-encoding: chunked\r\n';
  if (framing.kind === 'counted') text += `content-length: ${framing.length}\r\n`;
  if (framing.kind === 'none' && framing.announced !== undefined)
    text += `content-length: ${framing.announced}\r\n`;
  return closes ? `${text}connection: close\r\n\r\n` : `${text}\r\n`;
}
