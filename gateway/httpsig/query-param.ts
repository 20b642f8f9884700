import { MalformedBytes, quoted } from '../core/errors.ts';

/**
 * One parameter of an HTML form query, decoded and encoded again (RFC 9421 §2.2.8). For messages of others: our own
 * profile covers the raw `@query`, which has one spelling.
 * @param query raw, with its `?`
 * @param name percent-encoded
 * @throws MalformedBytes when the parameter is absent, repeated, or `name` is not spelled as we would
 */
export function queryParam(query: string, name: string): string {
  let found: string | undefined;
  for (const [decodedName, value] of new URLSearchParams(query)) {
    if (encodeFormPart(decodedName) !== name) continue;
    if (found !== undefined) throw new MalformedBytes(`query parameter ${quoted(name)} twice`);
    found = encodeFormPart(value);
  }
  if (found === undefined) throw new MalformedBytes(`no query parameter ${quoted(name)}`);
  return found;
}

/**
 * The application/x-www-form-urlencoded percent-encode set (WHATWG URL §1.3), which is `encodeURIComponent` and five
 * more; a space is `%20` here.
 */
function encodeFormPart(text: string): string {
  // Lone surrogates cannot come out of URLSearchParams, so this does not throw.
  return encodeURIComponent(text).replaceAll(
    /[!'()~]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
