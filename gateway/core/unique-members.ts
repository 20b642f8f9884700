import { MalformedBytes, quoted } from './errors.ts';

const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g;

/**
 * No object has a member twice: JSON.parse takes the last one, another reader, or a person, the first (RFC 8259 §4).
 * @param json valid JSON: strings and punctuation are all there is to look at
 * @param maxDepth levels of nesting
 * @throws MalformedBytes
 */
export function requireUniqueMembers(json: string, maxDepth: number): void {
  // One entry for each open bracket: the members of an object, or undefined for a list.
  const open: (Set<string> | undefined)[] = [];
  let last = '';
  for (const [token] of json.matchAll(TOKENS)) {
    switch (token) {
      case '{':
      case '[':
        if (open.push(token === '{' ? new Set() : undefined) > maxDepth)
          throw new MalformedBytes('nested too deeply');
        break;
      case '}':
      case ']':
        open.pop();
        break;
      case ':': {
        const name = String(JSON.parse(last)); // `"a"` and `"\u0061"` are one name
        const names = open.at(-1);
        if (names === undefined || names.has(name) || name === '__proto__')
          throw new MalformedBytes(`${quoted(name)} is there twice, or is no name of a member`);
        names.add(name);
        break;
      }
    }
    last = token;
  }
}
