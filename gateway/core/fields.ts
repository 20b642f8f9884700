import type { PlainText } from './plain-text.ts';

/**
 * Header or trailer fields in canonical form: name in lower case, each name once, value visible ASCII with single
 * spaces and tabs inside only. Policy, signature, log and service all read this one list.
 */
export type Field = readonly [name: string, value: string];
export type Fields = readonly Field[];
/** A field, or a line of one, whose value needs no second look. */
export type PlainField = readonly [name: string, value: PlainText];

export const NO_FIELDS: Fields = Object.freeze([]);

/** Value of a field, or undefined. Names are compared byte for byte: they are lower case already. */
export function fieldValue(fields: Fields, name: string): string | undefined {
  for (const field of fields) if (field[0] === name) return field[1];
  return undefined;
}
