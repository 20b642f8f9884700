import {
  isInnerList,
  parseDictionary,
  serializeInnerList,
  serializeItem,
  type Dictionary,
} from 'structured-headers';
import { MalformedBytes, quoted } from '../core/errors.ts';

// The door of `structured-headers`: general structured fields, off the hot path.

const STRINGS = /"(?:[^"\\]|\\.)*"/g;
/**
 * Values the library cannot write back as they were read: decimals with no fraction (`1.0` becomes `1`), and the
 * dates and display strings of RFC 9651, which RFC 9421 does not know.
 */
const NOT_REVERSIBLE = /[=( ](?:[@%]|-?\d+\.0+(?!\d))/;

/**
 * Strict re-serialisation of one member of a dictionary field, the value behind `;key` (RFC 9421 §2.1.2).
 * @throws MalformedBytes when the field is no dictionary or has no such member
 */
export function dictionaryMember(text: string, key: string): string {
  let members: Dictionary;
  try {
    members = parseDictionary(text);
  } catch (cause) {
    throw new MalformedBytes(`not a dictionary: ${quoted(text)}`, { cause });
  }
  if (NOT_REVERSIBLE.test(text.replaceAll(STRINGS, '""'))) {
    throw new MalformedBytes(`not a dictionary of RFC 8941 that can be written back: ${quoted(text)}`);
  }
  const member = members.get(key);
  if (member === undefined) throw new MalformedBytes(`no dictionary member ${quoted(key)}`);
  return isInnerList(member) ? serializeInnerList(member) : serializeItem(member);
}
