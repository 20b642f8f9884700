import { Denied, refusalCodeOf } from '../core/errors.ts';
import { NO_FIELDS, fieldValue, type Field, type Fields } from '../core/fields.ts';
import type { ResponseHead } from '../core/head.ts';
import { REFUSALS, xroadType, type RefusalCode, type XRoadSpelling } from '../core/refusals.ts';

/** A refusal as it goes on the wire. Detail and cause stay in the log; `detail` is the id to look up there. */
export interface RefusalAnswer {
  readonly code: RefusalCode;
  readonly head: ResponseHead;
  readonly bytes: Buffer;
}

/** How the requester wants to read a refusal. */
export interface Reader {
  readonly accept: string | undefined;
  readonly acceptLanguage: string | undefined;
  readonly spelling: XRoadSpelling;
}

export const readerOf = (fields: Fields, spelling: XRoadSpelling): Reader => ({
  accept: fieldValue(fields, 'accept'),
  acceptLanguage: fieldValue(fields, 'accept-language'),
  spelling,
});

/** The two fields a refusal needs even when the rest of the head was not acceptable. */
export function acceptFields(rawHeaders: readonly string[]): Fields {
  const fields: Field[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase();
    if (name === 'accept' || name === 'accept-language') fields.push([name, rawHeaders[i + 1] ?? '']);
  }
  return fields;
}

/**
 * The only place where a thrown value becomes an answer: X-Road's three-member body in JSON, in XML when Accept asks
 * for that (REST protocol 4.6), or RFC 9457 with our own code for clients that accept it.
 * @param id what finds this refusal in the log: the exchange's request id
 */
export function refusalAnswer(thrown: unknown, id: string, reader: Reader): RefusalAnswer {
  const more = thrown instanceof Denied ? thrown.answerFields : NO_FIELDS;
  return answerFor(refusalCodeOf(thrown), id, reader, more);
}

/** @param more fields of ours beside the usual ones */
export function answerFor(code: RefusalCode, id: string, reader: Reader, more = NO_FIELDS): RefusalAnswer {
  const row = REFUSALS[code];
  const type = xroadType(code, reader.spelling);
  const message = prefersChinese(reader.acceptLanguage) ? row.zh : row.en;
  const [contentType, body] = render(reader.accept ?? '', code, row.status, type, message, id);
  const fields: Field[] = [
    ['content-type', contentType],
    ['x-road-error', type],
    ...(row.status === 405 ? [['allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'] as const] : []),
    ...(row.status === 503 ? [['retry-after', '1'] as const] : []),
    ...more,
  ];
  return { code, head: { status: row.status, fields }, bytes: Buffer.from(body, 'utf8') };
}

function render(
  accept: string,
  code: RefusalCode,
  status: number,
  type: string,
  message: string,
  detail: string,
): readonly [contentType: string, body: string] {
  if (accepts(accept, 'application/problem+json')) {
    const problem = { type: 'about:blank', title: message, status, code, detail, xroad: type };
    return ['application/problem+json', JSON.stringify(problem)];
  }
  if (['text/xml', 'application/xml', 'text/*'].some((media) => accepts(accept, media))) {
    const xml = `<error><type>${escapeXml(type)}</type><message>${escapeXml(message)}</message><detail>${escapeXml(detail)}</detail></error>`;
    return ['text/xml', `<?xml version="1.0" encoding="UTF-8"?>\n${xml}\n`];
  }
  return ['application/json', JSON.stringify({ type, message, detail })];
}

const accepts = (accept: string, media: string): boolean =>
  accept.split(',').some((range) => range.split(';', 1)[0]?.trim().toLowerCase() === media);

/** True when the first language that we have is a Chinese one (RFC 9110 §12.5.4; weights are in order in practice). */
function prefersChinese(acceptLanguage: string | undefined): boolean {
  for (const range of (acceptLanguage ?? '').split(',')) {
    const tag = range.split(';', 1)[0]?.trim().toLowerCase() ?? '';
    if (tag.startsWith('zh')) return true;
    if (tag.startsWith('en')) return false;
  }
  return false;
}

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
