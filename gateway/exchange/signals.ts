import { toSeconds, type Clock } from '../core/clock.ts';
import { ConfigError } from '../core/errors.ts';
import type { Revocation, Revocations } from '../identity/revocations.ts';
import { type NamedDevice, SecurityEvent, type SignalIssuers } from '../identity/security-event.ts';
import { replaceFile, type Storage } from '../evidence/storage.ts';
import { audienceOf } from './audience.ts';
import type { Ending } from './revoke.ts';

export interface SignalsOptions {
  /** Name of this gateway: its audience is that of assertions, too. */
  readonly name: string;
  readonly clock: Clock;
  readonly users: {
    readonly issuers: () => SignalIssuers;
    readonly revocations: Revocations;
    /** Ends what runs. Resolves when it has been ended everywhere. */
    readonly running: { end(ending: Ending): number | Promise<number> };
  };
  readonly storage: Storage;
  /** Absolute; what identity providers have ended, over restarts. */
  readonly file: string;
  readonly onEvent: (outcome: SignalOutcome) => void;
}

/** For the operator: what happened, and nobody's name. */
export interface SignalOutcome {
  readonly issuer: string;
  readonly type: string;
  /** Exchanges that were broken off. */
  readonly exchanges: number;
  /** From taking the event to the last of them. */
  readonly elapsedMs: number;
}

/**
 * Takes shared signals (SSF 1.0, CAEP), however they came. The order is the promise: first nothing new is admitted, then
 * what runs is ended, then it is on disk, and only then is the transmitter told that it need not say it again.
 */
export class Signals {
  readonly #options: SignalsOptions;
  #ending: Promise<void> = Promise.resolve();
  #saving: Promise<void> = Promise.resolve();
  /** Something was added that is not on disk yet. */
  #dirty = false;

  private constructor(options: SignalsOptions) {
    this.#options = options;
  }

  /** Reads back what was ended before a restart. @throws ConfigError the file is not what we wrote */
  static async open(options: SignalsOptions): Promise<Signals> {
    const kept = await options.storage.readFile(options.file);
    if (kept !== undefined) options.users.revocations.restore(parseKept(kept, options.file));
    return new Signals(options);
  }

  /**
   * @returns when the event has had its effect and is kept
   * @throws SecurityEventRefused; Unavailable when no more can be kept; Error when the disk fails: then say it again
   */
  async take(text: string): Promise<void> {
    const { name, clock, users } = this.#options;
    const began = clock.monotonic();
    const now = toSeconds(clock.now());
    const event = SecurityEvent.verify(text, audienceOf(name), users.issuers(), now);
    if (users.revocations.add(event, now)) {
      if (event.effect === 'ended') this.#dirty = true;
      const ended = this.#end(event, began);
      this.#ending = this.#ending.then(() => ended);
    }
    // Of an event that comes again meanwhile nobody is told "done" before the first is.
    await this.#ending;
    await this.#save();
  }

  async #end(event: SecurityEvent, began: number): Promise<void> {
    const { clock, users, onEvent } = this.#options;
    const exchanges = await users.running.end(event);
    onEvent({ issuer: event.issuer, type: event.type, exchanges, elapsedMs: clock.monotonic() - began });
  }

  /** Writes follow each other; one that comes meanwhile takes all that came before it along. */
  #save(): Promise<void> {
    const saved = this.#saving
      .catch(() => undefined)
      .then(async () => {
        if (!this.#dirty) return;
        this.#dirty = false;
        const { storage, file, users } = this.#options;
        try {
          await replaceFile(storage, file, `${JSON.stringify(users.revocations.list())}\n`);
        } catch (cause) {
          this.#dirty = true;
          throw cause;
        }
      });
    this.#saving = saved;
    return saved;
  }
}

/** Whoever can write this file can already stop the gateway; a file we do not understand may hide a sign-out. */
function parseKept(bytes: Buffer, file: string): Revocation[] {
  const refuse = (): ConfigError =>
    new ConfigError([
      `${file}: not the list of ended sessions that this gateway writes; remove it only when no session can be as old`,
    ]);
  let list: unknown;
  try {
    list = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw refuse();
  }
  if (!Array.isArray(list) || !list.every(isRevocation)) throw refuse();
  return list;
}

function isRevocation(item: unknown): item is Revocation {
  if (typeof item !== 'object' || item === null) return false;
  const { issuer, subject, session, device, at, jti } = item as Partial<Record<keyof Revocation, unknown>>; // any object may be asked
  const textOrNone = (value: unknown): boolean => value === undefined || typeof value === 'string';
  return (
    typeof issuer === 'string' &&
    typeof jti === 'string' &&
    Number.isSafeInteger(at) &&
    textOrNone(subject) &&
    textOrNone(session) &&
    (device === undefined ? subject !== undefined || session !== undefined : isDevice(device))
  );
}

function isDevice(item: unknown): boolean {
  if (typeof item !== 'object' || item === null) return false;
  const { attestor, name } = item as Partial<Record<keyof NamedDevice, unknown>>; // any object may be asked
  return typeof attestor === 'string' && typeof name === 'string';
}
