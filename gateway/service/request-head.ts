import { BODYLESS } from '../http1/request-head.ts';
import { formatFields } from '../http1/message-writer.ts';
import type { ServiceRequest } from './service.ts';

/** Fields this hop decides alone. */
const OWN_FIELDS = new Set([
  'host',
  'connection',
  'content-length',
  'keep-alive',
  'transfer-encoding',
  'expect',
  'upgrade',
  'trailer',
  'te',
]);
const METHOD = /^[A-Z]+$/;
const NO_TARGET_TEXT = /[^\x21-\x7e\x80-\xff]/;

/**
 * Request line and field lines, with the empty line; one character a byte.
 * @throws Error when something in it would make another request than this
 */
export function formatRequest(
  { method, pathAndQuery, fields, body }: ServiceRequest,
  basePath: string,
  host: string,
): string {
  const path = basePath + pathAndQuery;
  if (!METHOD.test(method) || NO_TARGET_TEXT.test(path))
    throw new Error('request line with other characters');
  let text = `${method} ${path.startsWith('/') ? '' : '/'}${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n`;
  for (const [name] of fields) if (OWN_FIELDS.has(name)) throw new Error(`field of this hop: ${name}`);
  text += formatFields(fields);
  const length = body.kind === 'whole' ? body.bytes.length : body.length;
  if (length === undefined) return `${text}transfer-encoding: chunked\r\n\r\n`;
  return length === 0 && BODYLESS.has(method) ? `${text}\r\n` : `${text}content-length: ${length}\r\n\r\n`;
}
