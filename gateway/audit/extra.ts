import { quoted } from '../core/errors.ts';
import { readMeta } from '../evidence/meta-part.ts';

const TEXTS = ['address', 'userAgent'] as const;
const NUMBERS = ['requestBytes', 'answerBytes', 'requestMs', 'answerMs'] as const;

/** What a gateway noted because its policy demanded `extra_logging`: its word alone, nothing is proved of it. */
export type ShownExtra = { readonly [Name in (typeof TEXTS)[number]]?: string } & {
  readonly [Name in (typeof NUMBERS)[number]]?: number;
};

/** Reads it out of a `meta` part. A gateway can sign nonsense into its own log: whatever is no such thing is left out. */
export function readExtra(part: Buffer): ShownExtra | undefined {
  const extra = membersOf(membersOf(parsed(part))['extra']);
  const known = Object.fromEntries([
    ...TEXTS.filter((name) => typeof extra[name] === 'string').map((name) => [name, extra[name]]),
    ...NUMBERS.filter((name) => Number.isSafeInteger(extra[name])).map((name) => [name, extra[name]]),
  ]) as ShownExtra; // names and types are those just looked for
  return Object.keys(known).length === 0 ? undefined : known;
}

/** A line of the origin, a line of sizes and times, as far as there is either. */
export function renderExtra(extra: ShownExtra): string[] {
  const { address, userAgent, requestBytes, answerBytes, requestMs, answerMs } = extra;
  const agent = userAgent === undefined ? '' : `, user agent ${quoted(userAgent, 260)}`;
  const size = (what: string, bytes: number, ms: number | undefined): string =>
    `${what} ${bytes} bytes${ms === undefined ? '' : ` in ${ms} ms`}`;
  const sizes = [
    ...(requestBytes === undefined ? [] : [size('request', requestBytes, requestMs)]),
    ...(answerBytes === undefined ? [] : [size('answer', answerBytes, answerMs)]),
  ];
  return [
    ...(address === undefined ? [] : [`from ${quoted(address, 64)}${agent}  來源位址與用戶端程式`]),
    ...(sizes.length === 0 ? [] : [`${sizes.join(', ')}  內容大小與時間`]),
  ];
}

function parsed(part: Buffer): unknown {
  try {
    return JSON.parse(readMeta(part).told);
  } catch {
    return undefined; // whoever needs the signed text says so
  }
}

const membersOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? { ...value } : {};
