import { MalformedBytes } from '../core/errors.ts';
import { requireUniqueMembers } from '../core/unique-members.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

const MAX_DEPTH = 6;

/**
 * A JSON object in UTF-8 in which no object has a key twice: JSON.parse takes the last one, another reader may take the
 * first (RFC 8259 §4, RFC 7515 §4).
 * @throws MalformedBytes
 */
export function parseObject(bytes: Uint8Array): JsonObject {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw new MalformedBytes('not JSON in UTF-8', { cause });
  }
  if (!isObject(value)) throw new MalformedBytes('not a JSON object');
  requireUniqueMembers(text, MAX_DEPTH);
  return value;
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
