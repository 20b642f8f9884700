import { MalformedBytes } from '../core/errors.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g;
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
  requireUniqueKeys(text);
  return value;
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** @param text valid JSON: strings and punctuation are all there is to look at */
function requireUniqueKeys(text: string): void {
  // One entry for each open bracket: the keys of an object, or undefined for a list.
  const open: (Set<string> | undefined)[] = [];
  let last = '';
  for (const [token] of text.matchAll(TOKENS)) {
    switch (token) {
      case '{':
      case '[':
        if (open.push(token === '{' ? new Set() : undefined) > MAX_DEPTH)
          throw new MalformedBytes('nested too deeply');
        break;
      case '}':
      case ']':
        open.pop();
        break;
      case ':': {
        const key = String(JSON.parse(last)); // `"a"` and `"\u0061"` are one key
        const keys = open.at(-1);
        if (keys === undefined || keys.has(key) || key === '__proto__')
          throw new MalformedBytes('a member is there twice, or has no name of ours');
        keys.add(key);
        break;
      }
    }
    last = token;
  }
}
