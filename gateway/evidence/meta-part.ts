// The `meta` part of an exchange's record: one line of JSON with what may be personal and, of a signed message, behind a
// line feed (which JSON escapes) the text that was signed, byte for byte but for one value. The user's assertion stands in
// the `subject` part of the same record, whose key may be destroyed sooner: the line of `t-road-user` ends behind its colon,
// and the JSON says so by `"subject":"t-road-user"`. (Logs of before say nothing and have the whole text.)
import { MalformedBytes } from '../core/errors.ts';
import { USER } from '../message/user-field.ts';

/** What a line of a signature base begins with (RFC 9421 §2.5). No value holds a line feed: it stands there once at most. */
const OPENING = `\n"${USER}": `;

/**
 * In pieces, one behind the other.
 * @param subject the record's `subject` part: the value of the user's line, if the text has one
 */
export function formatMeta(told: object, base?: string, subject?: string): readonly string[] {
  if (base === undefined) return [JSON.stringify(told)];
  const line = subject === undefined ? -1 : base.indexOf(OPENING);
  if (subject === undefined || line < 0) return [JSON.stringify(told), '\n', base];
  const start = line + OPENING.length;
  const end = start + subject.length;
  if (base.slice(start, end) !== subject || (end < base.length && base[end] !== '\n'))
    throw new Error(`the ${USER} that was signed is not the one to be sealed`);
  return [JSON.stringify({ ...told, subject: USER }), '\n', base.slice(0, start), base.slice(end)];
}

export interface MetaPart {
  /** JSON, unless the log's owner wrote something else. */
  readonly told: string;
  /** As it stands in the part. */
  readonly base: string | undefined;
}

export function readMeta(part: Buffer): MetaPart {
  const end = part.indexOf(0x0a);
  return end < 0
    ? { told: part.toString('utf8'), base: undefined }
    : { told: part.toString('utf8', 0, end), base: part.toString('utf8', end + 1) };
}

/**
 * Puts back what was left out of a signed text.
 * @param name what `subject` in the JSON says
 * @throws MalformedBytes there is no such line, it has a value, or the subject is more than one
 */
export function withSubject(base: string, name: unknown, subject: string): string {
  const end = base.indexOf(OPENING) + OPENING.length;
  if (name !== USER || end < OPENING.length || (end < base.length && base[end] !== '\n'))
    throw new MalformedBytes('no line of the signed text was left to the subject part');
  // With its key the user's assertion is to go, and nothing else of what was signed.
  if (subject.includes('\n')) throw new MalformedBytes('the subject part holds more than one line');
  return base.slice(0, end) + subject + base.slice(end);
}
