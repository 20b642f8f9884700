import { Denied, quoted } from '../core/errors.ts';
import type { Field, Fields } from '../core/fields.ts';

/** RFC 9110 §5.6.2 token. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Printable ASCII with inner spaces and tabs. obs-text is refused: policies would see lossy text. */
const VALUE = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/;

/** Fields that may stand once. A second one is an attempt to make two readers disagree (RFC 9110 §5.3). */
const SINGLETON = new Set([
  'authorization',
  'content-type',
  'content-length',
  'content-location',
  'content-range',
  'date',
  'etag',
  'expires',
  'host',
  'if-modified-since',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'origin',
  'range',
  'referer',
  'retry-after',
  'user-agent',
  'content-digest',
  'signature',
  'signature-input',
  'dpop',
  'cookie',
  'x-road-error',
]);
const isSingleton = (name: string): boolean =>
  SINGLETON.has(name) || name.startsWith('x-road-') || name.startsWith('t-road-');

/** Fields that end at this hop (RFC 9110 §7.6.1), and those X-Road drops both ways (REST protocol 4.3). */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);
const DROPPED = new Set([
  ...HOP_BY_HOP,
  'user-agent',
  'host',
  'server',
  'expect',
  'content-length',
  // What a client says about addresses and original URLs is never evidence (attack catalogue T10).
  'forwarded',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-port',
  'x-forwarded-prefix',
  'x-forwarded-server',
  'x-forwarded-client-cert',
  'x-real-ip',
  'x-original-url',
  'x-original-host',
  'x-rewrite-url',
  'x-client-ip',
  'true-client-ip',
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
]);

/** Zero-trust extras that a client may send; every other `T-Road-*` name is for gateways. */
const CLIENT_TROAD = new Set(['t-road-assertion', 't-road-device', 't-road-agreement', 't-road-purpose']);
/** Fields that only a gateway makes. A client's own would be taken for ours. */
const GATEWAY_MADE = new Set(['content-digest', 'signature', 'signature-input', 'x-road-error']);
/** Fields that X-Road clients are known to echo; ignored as X-Road does. */
const REMADE = new Set(['x-road-request-id', 'x-road-request-hash']);

export const LIMITS = { fields: 100, bytes: 16 * 1024 } as const;

/**
 * Header lines of a client system in canonical form: what may be carried, each name once.
 * @param raw name, value, name, value, … in order of arrival
 * @throws Denied `header.*`, `framing.headers_too_large`
 */
export function clientFields(raw: readonly string[]): Fields {
  requireHopByHop(raw);
  const fields = canonicalFields(raw, DROPPED);
  for (const [name] of fields) {
    // `T_Road_X` becomes the same CGI variable as `T-Road-X` in many services.
    const spelled = name.replaceAll('_', '-');
    const reserved =
      GATEWAY_MADE.has(spelled) ||
      (spelled.startsWith('t-road-') && !CLIENT_TROAD.has(name)) ||
      (spelled !== name && spelled.startsWith('x-road-'));
    if (reserved) throw new Denied('header.reserved', quoted(name));
  }
  return fields.filter(([name]) => !REMADE.has(name));
}

/**
 * Header lines that came over the link, canonical. Nothing is dropped silently: a field that may not travel there is
 * refused, because it would be uncovered or mean two things.
 * @throws Denied `header.*`
 */
export function linkFields(lines: readonly Field[]): Fields {
  const raw: string[] = [];
  for (const [name, value] of lines) {
    if (name === 'content-length') continue; // framing: the transport enforces it
    if (DROPPED.has(name)) throw new Denied('header.malformed', `${quoted(name)} on the link`);
    raw.push(name, value);
  }
  return canonicalFields(raw, NOTHING);
}

/** Header lines of the service's answer: hop-by-hop ones, our names and cookies are left behind. */
export function serviceFields(raw: readonly string[]): Fields {
  return canonicalFields(raw, DROPPED, true).filter(
    ([name]) =>
      !name.startsWith('t-road-') &&
      !name.startsWith('x-road-') &&
      !GATEWAY_MADE.has(name) &&
      name !== 'set-cookie',
  );
}

const NOTHING: ReadonlySet<string> = new Set();

function canonicalFields(raw: readonly string[], dropped: ReadonlySet<string>, lenient = false): Fields {
  if (raw.length > LIMITS.fields * 2)
    throw new Denied('framing.headers_too_large', `${raw.length / 2} fields`);
  const fields: [string, string][] = [];
  let bytes = 0;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const written = raw[i] ?? '';
    const value = (raw[i + 1] ?? '').trim();
    bytes += written.length + value.length;
    if (!NAME.test(written)) throw new Denied('header.malformed', quoted(written));
    const name = written.toLowerCase();
    const seen = fields.findIndex(([other]) => other === name);
    if (seen >= 0 && isSingleton(name)) throw new Denied('header.duplicate', quoted(name));
    if (dropped.has(name)) continue;
    if (value === '' && lenient) continue;
    if (value !== '' && !VALUE.test(value)) throw new Denied('header.malformed', `value of ${quoted(name)}`);
    const before = fields[seen];
    if (before === undefined) fields.push([name, value]);
    else before[1] = `${before[1]}, ${value}`; // RFC 9110 §5.3: one list, in order
  }
  if (bytes > LIMITS.bytes) throw new Denied('framing.headers_too_large', `${bytes} bytes`);
  requireSingleDropped(raw, dropped);
  return fields;
}

/** Dropped fields that may stand once (Host, Content-Length) still may not stand twice. */
function requireSingleDropped(raw: readonly string[], dropped: ReadonlySet<string>): void {
  if (dropped.size === 0) return;
  const seen = new Set<string>();
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] ?? '').toLowerCase();
    if (!dropped.has(name) || !isSingleton(name)) continue;
    if (seen.has(name)) throw new Denied('header.duplicate', quoted(name));
    seen.add(name);
  }
}

/** `Connection` may name fields of this hop only; naming another asks us to lose it on the way (attack class V4). */
function requireHopByHop(raw: readonly string[]): void {
  for (let i = 0; i < raw.length; i += 2) {
    if ((raw[i] ?? '').toLowerCase() !== 'connection') continue;
    for (const token of (raw[i + 1] ?? '').split(',')) {
      const name = token.trim().toLowerCase();
      if (name !== 'close' && name !== '' && !HOP_BY_HOP.has(name)) {
        throw new Denied('header.hop_by_hop', quoted(name));
      }
    }
  }
}
