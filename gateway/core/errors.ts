import { NO_FIELDS, type Fields } from './fields.ts';
import type { RefusalCode } from './refusals.ts';

/**
 * The subject's fault, or something only the subject can mend. `detail` stays in the log: it may name what was
 * received, so it never goes on the wire.
 */
export class Denied extends Error {
  override readonly name = 'Denied';
  readonly code: RefusalCode;
  /** Fields the answer carries beside the usual ones, such as a challenge: made by us, nothing of what was received. */
  readonly answerFields: Fields;
  constructor(code: RefusalCode, detail: string, options?: { cause?: unknown; answerFields?: Fields }) {
    super(`${code}: ${detail}`, options);
    this.code = code;
    this.answerFields = options?.answerFields ?? NO_FIELDS;
  }
}

/** A dependency of ours (service, peer, log, policy engine) did not do its part. The caller may try again. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
  readonly code: RefusalCode;
  constructor(code: RefusalCode, detail: string, options?: { cause?: unknown }) {
    super(`${code}: ${detail}`, options);
    this.code = code;
  }
}

/** The configuration or the command line is wrong. Carries every problem found, not only the first. Exit status 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Bytes that are not what their format says. Formats know no refusal codes: the check above translates. */
export class MalformedBytes extends Error {
  override readonly name = 'MalformedBytes';
}

/**
 * Going on would risk the evidence (a failed fsync, a log that went back in time). The process stops admitting, ends
 * what runs, and exits.
 */
export class Fatal extends Error {
  override readonly name = 'Fatal';
}

/** The code a thrown value is answered and logged with; a value nobody expected is a bug of ours. */
export function refusalCodeOf(thrown: unknown): RefusalCode {
  if (thrown instanceof Denied || thrown instanceof Unavailable) return thrown.code;
  return 'gateway.internal';
}

/** Text of a thrown value for the operator's log: bounded, one line. */
export function describe(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return quoted(text, 400);
}

/** Untrusted text made safe to show: control and non-ASCII characters escaped, length capped. */
export function quoted(text: string, maxLength = 80): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}…(${text.length})` : text;
  return cut.replaceAll(/[^\x20-\x7e…]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
