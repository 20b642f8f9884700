import type { EpochMs, EpochSeconds } from '../core/clock.ts';
import { Denied } from '../core/errors.ts';
import { Roster } from '../core/passing.ts';
import { userKeyOf } from '../identity/claims.ts';
import type { NamedDevice, SecurityEvent } from '../identity/security-event.ts';
import type { UserAssertion } from '../identity/user-assertion.ts';
import type { DeviceTrust } from './device-checks.ts';

type End = (cause: Denied) => void;

interface Running {
  readonly user: UserAssertion;
  readonly end: End;
}

/** What a verified event ends: plain values, which reach the workers of a gateway by message. */
export type Ending = Pick<
  SecurityEvent,
  'issuer' | 'subject' | 'session' | 'device' | 'at' | 'effect' | 'type' | 'jti'
>;

/** Ends the results of the machine that an event names, if it does. @returns how many exchanges lived by them */
export function endResults(
  { device, at }: { readonly device?: NamedDevice | undefined; readonly at: EpochSeconds },
  { register, running }: Pick<DeviceTrust, 'register' | 'running'>,
  now: EpochMs,
): number {
  if (device === undefined) return 0;
  const before = running.size;
  // Events have seconds and results milliseconds: what was given in that very second ends, too.
  register.takeBack({ issuer: device.attestor, device: device.name }, (at + 1) * 1000, now);
  return before - running.size;
}

/**
 * The policy administrator's other half (SP 800-207): exchanges under way by the user they run for, so that what was
 * granted can be taken back while it runs.
 */
export class RunningUsers {
  readonly #byUser = new Map<string, Roster<Running>>();

  /** @param end breaks the exchange off; called at most once. @returns to be called when the exchange is over */
  register(user: UserAssertion, end: End): () => void {
    const key = user.userKey;
    const running = this.#byUser.get(key) ?? new Roster<Running>();
    this.#byUser.set(key, running);
    const place = running.add({ user, end });
    return () => {
      place.leave();
      if (running.size === 0 && this.#byUser.get(key) === running) this.#byUser.delete(key);
    };
  }

  get size(): number {
    let size = 0;
    for (const running of this.#byUser.values()) size += running.size;
    return size;
  }

  /** Ends what runs on an authentication that the event has voided. @returns how many exchanges that were */
  end(event: Ending): number {
    if (event.effect !== 'ended' || event.device !== undefined) return 0;
    const candidates =
      event.subject === undefined
        ? [...this.#byUser.values()] // a session alone: seldom, and every exchange knows its session
        : [this.#byUser.get(userKeyOf(event.issuer, event.subject))];
    const ending: End[] = [];
    for (const running of candidates) {
      for (const { user, end } of running?.list() ?? []) {
        if (user.issuer !== event.issuer || user.authTime > event.at) continue;
        if (isOf(event, user)) ending.push(end);
      }
    }
    for (const end of ending) end(new Denied('assertion.revoked', `${event.type} of ${event.jti}`));
    return ending.length;
  }
}

/** One without a name is any session of the user that the event names, as for new requests. */
const isOf = ({ session, subject }: Ending, user: UserAssertion): boolean =>
  session === undefined || session === user.session || (user.session === undefined && subject !== undefined);
