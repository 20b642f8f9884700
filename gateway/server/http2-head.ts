import { Denied } from '../core/errors.ts';
import { malformed } from '../http1/field-line.ts';
import {
  BODYLESS,
  CONTENT_LENGTH,
  METHODS,
  NO_WISHES,
  type AnswerWishes,
  type FramedHead,
  type HeadLimits,
} from '../http1/request-head.ts';

/**
 * Reads the field section of an HTTP/2 request (RFC 9113 §8.3) by the rules of the HTTP/1.1 reader, into the same
 * head: `:authority` becomes the Host line. The library has refused connection-specific fields, wrong or repeated
 * pseudo-fields and bad lengths before.
 * @param flat name, value, name, value, … pseudo-fields first
 * @throws Denied framing.*
 */
export function readHttp2Head(
  flat: readonly string[],
  endsWithHead: boolean,
  limits: HeadLimits,
): FramedHead {
  const pseudo = new Map<string, string>();
  const fields: string[] = [];
  let bytes = 0;
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const [name = '', value = ''] = [flat[i], flat[i + 1]];
    if (name.startsWith(':')) pseudo.set(name, value);
    else {
      fields.push(name, value);
      bytes += name.length + value.length + 4; // as if it were a line
    }
  }
  const [method = '', target = ''] = [pseudo.get(':method'), pseudo.get(':path')];
  if (!METHODS.has(method)) throw new Denied('framing.method', 'method not carried');
  if (target.length > limits.targetBytes)
    throw new Denied('framing.target_too_long', `${target.length} bytes`);
  if (fields.length > 2 * limits.fields || bytes > limits.headerBytes) {
    throw new Denied('framing.headers_too_large', `${fields.length / 2} fields, ${bytes} bytes`);
  }
  const length = lengthOf(valuesOf(fields, 'content-length'), endsWithHead);
  if (length !== 0 && BODYLESS.has(method)) {
    throw new Denied('framing.body_unexpected', `${method} with content`);
  }
  const [expectation, ...more] = valuesOf(fields, 'expect');
  if (expectation !== undefined && (more.length > 0 || expectation.toLowerCase() !== '100-continue')) {
    throw new Denied('framing.expectation', 'not 100-continue');
  }
  return {
    method,
    target,
    rawHeaders: withHost(pseudo.get(':authority'), fields),
    length,
    expectsContinue: expectation !== undefined,
    closes: false,
  };
}

export function wishesOf(flat: readonly string[]): AnswerWishes {
  const [accept, acceptLanguage] = [valuesOf(flat, 'accept'), valuesOf(flat, 'accept-language')];
  if (accept.length + acceptLanguage.length === 0) return NO_WISHES;
  return { accept: accept.join(', '), acceptLanguage: acceptLanguage.join(', ') };
}

function lengthOf([text, ...more]: readonly string[], endsWithHead: boolean): number | 'chunked' {
  if (more.length > 0 || (text !== undefined && !CONTENT_LENGTH.test(text)))
    throw malformed('content-length');
  const length = text === undefined ? undefined : Number(text);
  if (endsWithHead) {
    if (length !== undefined && length !== 0) throw malformed('content-length without content');
    return 0;
  }
  // Content may still turn out to be empty; whether it does is known at its end.
  return length ?? 'chunked';
}

/** One host: the authority, and a Host field only when it says the same (RFC 9113 §8.3.1). */
function withHost(authority: string | undefined, fields: readonly string[]): readonly string[] {
  const hosts = valuesOf(fields, 'host');
  if (authority === undefined) {
    if (hosts.length === 0) throw malformed('neither :authority nor Host');
    return fields;
  }
  if (hosts.some((host) => host !== authority)) throw malformed('Host is not :authority');
  return hosts.length > 0 ? fields : ['host', authority, ...fields];
}

function valuesOf(fields: readonly string[], name: string): readonly string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i] === name) values.push(fields[i + 1] ?? '');
  return values;
}
