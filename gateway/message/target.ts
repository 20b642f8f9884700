import { Denied, quoted } from '../core/errors.ts';
import { parseServiceId, type ServiceId } from '../core/ids.ts';

/** A request target that has one reading only. Path and query are the raw bytes that were received. */
export interface Target {
  readonly path: string;
  /** With its leading `?`; empty when there is none. */
  readonly query: string;
}

/** Where an X-Road target points: the service, and what is left for it. */
export interface Route {
  readonly service: ServiceId;
  /** Path behind the service code: empty, or beginning with a slash. */
  readonly rest: string;
}

// RFC 3986 pchar without `;` (path parameters are read differently by different stacks).
const PATH = /^(?:\/(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})*)+$/;
// RFC 3986 §3.4, and what browsers leave raw in a query: [ ] | ^ ` { } are data there for every reader.
const QUERY = /^(?:[A-Za-z0-9._~!$&'()*+,;=:@/?[\]|^`{}-]|%[0-9A-Fa-f]{2})*$/;
// Dot segments in any spelling; empty segments inside; encoded separators; encoded controls; double encoding.
const AMBIGUOUS_PATH =
  /\/(?:\.|%2e){1,2}(?:\/|$)|\/\/|%(?:2f|5c|3b|23|3f|0[0-9a-f]|1[0-9a-f]|7f|25[0-9a-f]{2})/i;
const ENCODED_SEPARATOR_OR_CONTROL = /%(?:0[0-9a-f]|1[0-9a-f]|7f)/i;

/**
 * Splits a raw origin-form target and refuses whatever two readers could understand differently (dot segments, `//`,
 * encoded separators, controls, fragments, non-ASCII): refused, never normalised (RFC 3986 §6 is the attacker's tool).
 * Inside the identifier parts of an X-Road path `%2F` is data; {@link parseRoute} reads those.
 * @throws Denied `target.malformed`
 */
export function parseTarget(raw: string): Target {
  const mark = raw.indexOf('?');
  const path = mark < 0 ? raw : raw.slice(0, mark);
  const query = mark < 0 ? '' : raw.slice(mark);
  if (!PATH.test(path) || !isUtf8(path)) throw malformed(raw);
  if (query !== '' && (!QUERY.test(query.slice(1)) || ENCODED_SEPARATOR_OR_CONTROL.test(query))) {
    throw malformed(raw);
  }
  const identifiers = endOfIdentifiers(path);
  if (AMBIGUOUS_PATH.test(path.slice(identifiers))) throw malformed(raw);
  return { path, query };
}

/**
 * Reads `/r1/{instance}/{class}/{member}/{subsystem}/{service}[/rest]` (X-Road REST 4.1).
 * @throws Denied `target.not_xroad`
 */
export function parseRoute(path: string): Route {
  const end = endOfIdentifiers(path);
  const service = end === 0 ? undefined : parseServiceId(path.slice('/r1/'.length, end));
  if (service === undefined) throw new Denied('target.not_xroad', quoted(path));
  return { service, rest: path.slice(end) };
}

/** Index just behind the service code of an `/r1/` path, or 0 when the path is none. */
function endOfIdentifiers(path: string): number {
  if (!path.startsWith('/r1/')) return 0;
  let at = '/r1'.length;
  for (let part = 0; part < 5; part++) {
    const slash = path.indexOf('/', at + 1);
    if (slash < 0) return part === 4 ? path.length : 0;
    at = slash;
  }
  return at;
}

/** Percent-encoding must hide valid UTF-8: overlong and broken sequences read differently in different stacks. */
function isUtf8(path: string): boolean {
  if (!path.includes('%')) return true;
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

const malformed = (raw: string): Denied => new Denied('target.malformed', quoted(raw));
