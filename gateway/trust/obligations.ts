import { MalformedBytes, quoted } from '../core/errors.ts';
import { hasExactly, isObject } from './canonical.ts';

/**
 * Duties that come with a decision, in the policy's own words (the record repeats them). An absent member is no duty.
 * All go with an allow, except `step_up`, which only a denial has. Members stand in alphabetical order, so that
 * JSON.stringify writes RFC 8785 without sorting.
 */
export interface Obligations {
  /** The records of the exchange say more of it, for people to look at. */
  readonly extra_logging?: true;
  /** Content of the request and of the answer, each. */
  readonly max_bytes_per_second?: number;
  /** Content bytes. */
  readonly max_request_bytes?: number;
  readonly max_response_bytes?: number;
  /** How long the exchange may last, from the first decision on it. */
  readonly max_seconds?: number;
  /** Nothing but GET, HEAD and OPTIONS. */
  readonly read_only?: true;
  /** A running exchange is decided on again, this often. */
  readonly recheck_seconds?: number;
  /** Coming back with this would change the denial (RFC 9470). */
  readonly step_up?: StepUp;
}

/** How the user should authenticate before trying again. */
export interface StepUp {
  /** SP 800-63 AAL. */
  readonly aal: 1 | 2 | 3;
  readonly max_age_seconds: number;
}

type Reader<T> = (value: unknown, name: string) => T;

const yes: Reader<true> = (value, name) => {
  if (value !== true) throw new MalformedBytes(`obligation ${name} is not true`);
  return value;
};

const integer =
  (min: number, max: number = Number.MAX_SAFE_INTEGER): Reader<number> =>
  (value, name) => {
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
      throw new MalformedBytes(`${name} is not an integer from ${min} to ${max}`);
    return value;
  };

/** A share of a hundred. @throws MalformedBytes */
export const percent = integer(0, 100);

const stepUp: Reader<StepUp> = (value, name) => {
  if (!isObject(value) || !hasExactly(value, ['aal', 'max_age_seconds']))
    throw new MalformedBytes(`obligation ${name} is not an object of aal, max_age_seconds`);
  const { aal } = value;
  if (aal !== 1 && aal !== 2 && aal !== 3) throw new MalformedBytes(`${name}.aal is not 1, 2 or 3`);
  return {
    aal,
    max_age_seconds: integer(1)(value['max_age_seconds'], `${name}.max_age_seconds`),
  };
};

/**
 * Slower than this a sender waits longer for room in the link's windows (256 KiB at a time) than gateways wait for a byte to
 * move: a slow exchange would end as one that stalled.
 */
export const LEAST_BYTES_PER_SECOND = 65_536;

/** In alphabetical order. Zero bytes is a bound; zero seconds would be a denial in disguise. */
const READERS: { readonly [Name in keyof Obligations]-?: Reader<NonNullable<Obligations[Name]>> } = {
  extra_logging: yes,
  max_bytes_per_second: integer(LEAST_BYTES_PER_SECOND),
  max_request_bytes: integer(0),
  max_response_bytes: integer(0),
  max_seconds: integer(1),
  read_only: yes,
  recheck_seconds: integer(1),
  step_up: stepUp,
};
const NAMES = Object.entries(READERS);

/**
 * Reads the duties of a result. A duty we cannot carry out is not a detail: without it there was no allow.
 * @throws MalformedBytes
 */
export function parseObligations(value: unknown, allow: boolean): Obligations {
  if (!isObject(value)) throw new MalformedBytes('obligations are not an object');
  const unknown = Object.keys(value).find((name) => !Object.hasOwn(READERS, name));
  if (unknown !== undefined) throw new MalformedBytes(`unknown obligation ${quoted(unknown)}`);
  const present = NAMES.filter(([name]) => Object.hasOwn(value, name));
  const misplaced = present.find(([name]) => (name === 'step_up') === allow);
  if (misplaced !== undefined)
    throw new MalformedBytes(`obligation ${misplaced[0]} with allow ${String(allow)}`);
  return Object.fromEntries(present.map(([name, read]) => [name, read(value[name], name)]));
}
