import { Denied, quoted } from '../core/errors.ts';

// Which fields may travel, and how, is told by their names.

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
export const HOP_BY_HOP = new Set([
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
const isDropped = (name: string): boolean => DROPPED.has(name) || name.startsWith('x-forwarded-');

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

/** What there is to know about a name, looked up once instead of matched against every rule for every line. */
export interface NameFacts {
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
  // `T_Road_X` becomes the same CGI variable as `T-Road-X` in many services, `X_Forwarded_For` as the field that stays behind.
  const spelled = name.includes('_') ? name.replaceAll('_', '-') : name;
  const isOurs = (field: string): boolean =>
    field.startsWith('t-road-') || field.startsWith('x-road-') || GATEWAY_MADE.has(field);
  const twin = spelled !== name && isOurs(spelled);
  return {
    name,
    singleton: isSingleton(name),
    dropped: isDropped(spelled),
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
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-proto',
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
export function nameFacts(written: string): NameFacts {
  const usual = USUAL.get(written);
  if (usual !== undefined) return usual;
  if (!NAME.test(written)) throw new Denied('header.malformed', quoted(written));
  const name = written.toLowerCase();
  return USUAL.get(name) ?? factsOf(name);
}
