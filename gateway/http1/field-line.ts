import { Denied } from '../core/errors.ts';
import type { Fields } from '../core/fields.ts';

// Field lines of HTTP/1.1 messages (RFC 9112 §5), both ways.

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const NO_FIELD_TEXT = /[^\t\x20-\x7e\x80-\xff]/;

export const malformed = (detail: string): Denied => new Denied('framing.malformed', detail);

/** What stands before the colon. @throws Denied framing.malformed */
export function nameOf(line: string): string {
  const name = line.slice(0, Math.max(line.indexOf(':'), 0));
  // Also refuses folded lines, a space before the colon and lines without one (RFC 9112 §5.1, §5.2).
  if (!TOKEN.test(name)) throw malformed('field name');
  return name;
}

/** The line from an offset on, without spaces and tabs around it. (`trim` would eat 0xa0 too.) */
export function trimmed(line: string, from: number): string {
  let start = from;
  let end = line.length;
  while (start < end && isBlank(line.charCodeAt(start))) start += 1;
  while (end > start && isBlank(line.charCodeAt(end - 1))) end -= 1;
  return line.slice(start, end);
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

/** Whether a list of tokens has this one, which is in lower case. */
export function lists(value: string, token: string): boolean {
  const options = value.includes(',') ? value.split(',') : [value];
  return options.some((option) => option.trim().toLowerCase() === token);
}

/** @throws Error when one could start another line, in whatever protocol follows */
export function requireFieldText(fields: Fields): void {
  let [names, values] = ['', ''];
  for (const [name, value] of fields) {
    if (name === '') throw new Error('field without a name');
    names += name;
    values += value;
  }
  if (NO_FIELD_TEXT.test(values) || (names !== '' && !TOKEN.test(names)))
    throw new Error('field with a control character');
}
