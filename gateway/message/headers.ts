import { Denied, quoted } from '../core/errors.ts';
import type { Field, Fields, PlainField } from '../core/fields.ts';
import { isPlain } from '../core/plain-text.ts';

/** RFC 9110 §5.6.2 token. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

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
/** Fields that X-Road clients are known to echo; ignored as X-Road does. The service gets ours, and no second one. */
export const REMADE: ReadonlySet<string> = new Set([
  'x-road-request-id',
  'x-road-request-hash',
  'x-road-service',
]);

export const LIMITS = { fields: 100, bytes: 16 * 1024 } as const;

/** What there is to know about a name, looked up once instead of matched against every rule for every line. */
interface NameFacts {
  /** In lower case. */
  readonly name: string;
  readonly singleton: boolean;
  readonly dropped: boolean;
  /** Many services read it as a field of ours. Nobody may send it. */
  readonly twin: boolean;
  /** A client may not send it. */
  readonly reserved: boolean;
  /** Taken from a client, and left behind. */
  readonly remade: boolean;
  /** Left out of what a service sent. */
  readonly ours: boolean;
}

function factsOf(name: string): NameFacts {
  // `T_Road_X` becomes the same CGI variable as `T-Road-X` in many services.
  const spelled = name.includes('_') ? name.replaceAll('_', '-') : name;
  const isOurs = (field: string): boolean =>
    field.startsWith('t-road-') || field.startsWith('x-road-') || GATEWAY_MADE.has(field);
  const twin = spelled !== name && isOurs(spelled);
  return {
    name,
    singleton: isSingleton(name),
    dropped: DROPPED.has(name),
    twin,
    reserved: twin || GATEWAY_MADE.has(name) || (name.startsWith('t-road-') && !CLIENT_TROAD.has(name)),
    remade: REMADE.has(name),
    ours: isOurs(spelled) || name === 'set-cookie',
  };
}

/** Names that are usually written with more capitals than one a word. */
const SPELLED: ReadonlyMap<string, string> = new Map([
  ['dpop', 'DPoP'],
  ['etag', 'ETag'],
  ['te', 'TE'],
]);

/** By name as it is usually written. Names of our choice only: what others send must not make it grow. */
const USUAL: ReadonlyMap<string, NameFacts> = new Map(
  [
    ...SINGLETON,
    ...DROPPED,
    ...CLIENT_TROAD,
    ...REMADE,
    'accept',
    'accept-encoding',
    'accept-language',
    'accept-ranges',
    'cache-control',
    'content-encoding',
    'content-language',
    'dpop-nonce',
    'pragma',
    'set-cookie',
    't-road-end',
    't-road-exchange',
    't-road-policy',
    't-road-user',
    'vary',
    'x-road-client',
    'x-road-id',
    'x-road-issue',
    'x-road-represented-party',
    'x-road-security-server',
    'x-road-service',
    'x-road-userid',
  ].flatMap((name) => {
    const facts = factsOf(name);
    const capitals = name.replaceAll(/(?:^|-)[a-z]/g, (letters) => letters.toUpperCase());
    return [
      [name, facts],
      [SPELLED.get(name) ?? capitals, facts],
    ] as const;
  }),
);

/** @throws Denied `header.malformed` */
function nameFacts(written: string): NameFacts {
  const usual = USUAL.get(written);
  if (usual !== undefined) return usual;
  if (!NAME.test(written)) throw new Denied('header.malformed', quoted(written));
  const name = written.toLowerCase();
  return USUAL.get(name) ?? factsOf(name);
}

/** Fields on their way to canonical form: limits, characters, and each name once. */
class Collected {
  readonly fields: [string, string][] = [];
  /** Singletons that were dropped: Host and Content-Length may not stand twice either. */
  #dropped: string[] | undefined;
  #bytes = 0;
  readonly #plain: boolean;

  /** @param plain all values were looked through already */
  constructor(plain = false) {
    this.#plain = plain;
  }

  drop({ name, singleton }: NameFacts, written: string, value: string): void {
    this.#bytes += written.length + value.length;
    if (!singleton) return;
    if (this.#dropped === undefined) this.#dropped = [name];
    else if (this.#dropped.includes(name)) throw new Denied('header.duplicate', quoted(name));
    else this.#dropped.push(name);
  }

  /** @param value without white space around it */
  add({ name, singleton }: NameFacts, written: string, value: string, lenient: boolean): void {
    this.#bytes += written.length + value.length;
    const before = this.#find(name);
    if (before !== undefined && singleton) throw new Denied('header.duplicate', quoted(name));
    if (value === '' && lenient) return;
    // obs-text is refused: policies would see lossy text.
    if (!this.#plain && !isPlain(value)) throw new Denied('header.malformed', `value of ${quoted(name)}`);
    if (before === undefined) this.fields.push([name, value]);
    else before[1] = `${before[1]}, ${value}`; // RFC 9110 §5.3: one list, in order
  }

  #find(name: string): [string, string] | undefined {
    for (const field of this.fields) if (field[0] === name) return field;
    return undefined;
  }

  finish(): Fields {
    if (this.#bytes > LIMITS.bytes) throw new Denied('framing.headers_too_large', `${this.#bytes} bytes`);
    return this.fields;
  }
}

function requireFew(lines: number): void {
  if (lines > LIMITS.fields) throw new Denied('framing.headers_too_large', `${lines} fields`);
}

/**
 * Header lines of a client system in canonical form: what may be carried, each name once.
 * @param raw name, value, name, value, … in order of arrival
 * @throws Denied `header.*`, `framing.headers_too_large`
 */
export function clientFields(raw: readonly string[]): Fields {
  requireFew(raw.length / 2);
  const collected = new Collected();
  let reserved: string | undefined;
  let remade = false;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const written = raw[i] ?? '';
    const value = (raw[i + 1] ?? '').trim();
    const facts = nameFacts(written);
    if (facts.name === 'connection') requireHopByHop(value);
    if (facts.reserved) reserved ??= facts.name;
    if (facts.remade) remade = true;
    if (facts.dropped) collected.drop(facts, written, value);
    else collected.add(facts, written, value, false);
  }
  const fields = collected.finish();
  if (reserved !== undefined) throw new Denied('header.reserved', quoted(reserved));
  return remade ? fields.filter(([name]) => !REMADE.has(name)) : fields;
}

/**
 * Header lines that came over the link, canonical. Nothing is dropped silently: a field that may not travel there is
 * refused, because it would be uncovered or mean two things.
 * @throws Denied `header.*`
 */
export const linkFields = (lines: readonly Field[]): Fields => collectLines(lines, new Collected());

/** {@link linkFields} of lines whose values were looked through when they came, all at once. */
export const plainLinkFields = (lines: readonly PlainField[]): Fields =>
  collectLines(lines, new Collected(true));

function collectLines(lines: readonly Field[], collected: Collected): Fields {
  requireFew(lines.length);
  for (const [written, value] of lines) {
    if (written === 'content-length') continue; // framing: the transport enforces it
    const facts = nameFacts(written);
    if (facts.dropped) throw new Denied('header.malformed', `${quoted(written)} on the link`);
    if (facts.twin) throw new Denied('header.reserved', `${quoted(written)} on the link`);
    collected.add(facts, written, value.trim(), false);
  }
  return collected.finish();
}

/** Header lines of the service's answer: hop-by-hop ones, our names and cookies are left behind. */
export function serviceFields(raw: readonly string[]): Fields {
  requireFew(raw.length / 2);
  const collected = new Collected();
  let ours = false;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const written = raw[i] ?? '';
    const value = (raw[i + 1] ?? '').trim();
    const facts = nameFacts(written);
    if (facts.ours) ours = true;
    if (facts.dropped) collected.drop(facts, written, value);
    else collected.add(facts, written, value, true);
  }
  const fields = collected.finish();
  return ours ? fields.filter(([name]) => !nameFacts(name).ours) : fields;
}

/** `Connection` may name fields of this hop only; naming another asks us to lose it on the way (attack class V4). */
function requireHopByHop(tokens: string): void {
  for (const token of tokens.split(',')) {
    const name = token.trim().toLowerCase();
    if (name !== 'close' && name !== '' && !HOP_BY_HOP.has(name)) {
      throw new Denied('header.hop_by_hop', quoted(name));
    }
  }
}
