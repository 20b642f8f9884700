import type { EpochMs, EpochSeconds } from '../core/clock.ts';
import { Denied } from '../core/errors.ts';
import { Roster } from '../core/passing.ts';
import type { EarContent } from './ear.ts';
import { MAX_RESULT_SECONDS, type Revocations } from './revocations.ts';
import { compareAge, isWorse, type Standing } from './worse.ts';

/** The newest result of a device. */
interface Seen {
  readonly id: string;
  readonly issuer: string;
  readonly standing: Standing;
  /** The oldest that still counts beside it; undefined: any that is not better. */
  floor: Standing | undefined;
  /** Nothing it speaks against can be alive any more. */
  readonly forgetAt: EpochSeconds;
}

/** What a connection lives by: one of the proofs of attested-device.ts. */
interface Watched {
  readonly issuer: string;
  readonly device: string;
  requireCurrent(now: EpochMs): void;
}

interface Bound {
  readonly proof: Watched;
  readonly close: (why: Denied) => void;
}

/** More devices than one gateway sees in the lifetime of a result. */
const MAX_DEVICES = 100_000;
/** So many of each attestation service are taken even then: one that invents devices keeps out no others. */
const ALWAYS = 10_000;

/**
 * What a gateway knows about devices besides their results: the newest result of each, who was revoked, which policies
 * are in force, which connections hang on whom. In memory and bounded: what is forgotten has expired.
 */
export class DeviceRegister {
  readonly #seen = new Map<string, Seen>();
  /** How many of them each service speaks about. */
  readonly #devicesOf = new Map<string, number>();
  readonly #revocations = new Map<string, Revocations>();
  readonly #connections = new Map<string, Roster<Bound>>();
  /** What others than the attestation services have taken back, by service and device: the first number that counts. */
  readonly #takenBack = new Map<string, EpochMs>();
  #policies: ReadonlySet<string> | undefined;
  readonly #softwareTpm: (issuer: string) => void;

  /** @param softwareTpm told of each result about a TPM that is a program: that has to be loud */
  constructor(softwareTpm: (issuer: string) => void = () => undefined) {
    this.#softwareTpm = softwareTpm;
  }

  /**
   * Takes note of a result. One that is worse than a former one ends that at once: going back to the better one is what
   * somebody with a compromised machine would do. One that is as good leaves it until it expires, so that a renewal
   * breaks nothing that is under way.
   * @returns false when nothing follows from it: it was known already, or a newer one was that is no better
   * @throws Denied `device.superseded`, `device.revoked`
   */
  admit(content: EarContent, now: EpochSeconds): boolean {
    this.requireCurrent(content);
    const key = keyOf(content);
    const newest = this.#seen.get(key);
    if (newest !== undefined && compareAge(content, newest.standing) <= 0) {
      // It ended what was before it, had we only known.
      const isNews = isWorse(content, newest.standing) && isAbove(content, newest.floor);
      if (isNews) newest.floor = standingOf(content);
      return isNews;
    }
    this.#forgetExpired(now);
    if (newest === undefined) this.#requireRoom(content);
    this.#forget(key); // to the end: the map is ordered by the time of the newest result
    this.#seen.set(key, seen(content, newest));
    this.#devicesOf.set(content.issuer, (this.#devicesOf.get(content.issuer) ?? 0) + 1);
    if (content.softwareTpm) this.#softwareTpm(content.issuer);
    return true;
  }

  /** Does nothing newer speak against it? Look-ups only. @throws Denied `device.superseded`, `device.revoked` */
  requireCurrent(content: EarContent): void {
    const { device, id, policyId } = content;
    this.#revocations.get(content.issuer)?.requireNotRevoked(content);
    if (this.#takenBack.size > 0 && content.sequence < (this.#takenBack.get(machineOf(content)) ?? 0)) {
      throw new Denied('device.revoked', `${device}: its agency says that it is not compliant`);
    }
    if (this.#policies !== undefined && !this.#policies.has(policyId)) {
      throw new Denied('device.superseded', `${device}: appraised with a policy that is not in force`);
    }
    const newest = this.#seen.get(keyOf(content));
    if (newest === undefined || newest.id === id) return;
    const age = compareAge(content, newest.standing);
    if (age > 0) return;
    // Services number their results: a second one with the same number is none of theirs.
    if (age === 0 || !isAbove(content, newest.floor) || isWorse(newest.standing, content)) {
      throw new Denied('device.superseded', `${device}: a newer result is known`);
    }
  }

  /** Policies whose results count, by id; undefined: any that the attestation service uses. */
  set policies(ids: readonly string[] | undefined) {
    this.#policies = ids && new Set(ids);
  }

  /**
   * Takes a newer list of an attestation service and closes the connections that live by a result it takes back.
   * @returns false when it is not newer than the one we have
   */
  revoke(list: Revocations, now: EpochMs): boolean {
    const known = this.#revocations.get(list.issuer);
    if (known !== undefined && list.sequence <= known.sequence) return false;
    const merged = known === undefined ? list : list.after(known, now);
    this.#revocations.set(list.issuer, merged);
    for (const device of list.devices) this.#closeEnded(machineOf({ issuer: list.issuer, device }), now);
    return true;
  }

  /**
   * Ends the results of a device that are numbered before a moment, on the word of somebody who may say so beside its
   * attestation service. That goes on appraising it: a newer result counts.
   */
  takeBack(machine: Pick<EarContent, 'issuer' | 'device'>, before: EpochMs, now: EpochMs): void {
    for (const [key, ended] of this.#takenBack) {
      if (ended + MAX_RESULT_SECONDS * 1000 < now) this.#takenBack.delete(key);
    }
    const key = machineOf(machine);
    this.#takenBack.set(key, Math.max(before, this.#takenBack.get(key) ?? 0));
    this.#closeEnded(key, now);
  }

  #closeEnded(key: string, now: EpochMs): void {
    for (const { proof, close } of this.#connections.get(key)?.list() ?? []) {
      try {
        proof.requireCurrent(now);
      } catch (thrown) {
        if (!(thrown instanceof Denied)) throw thrown;
        close(thrown);
      }
    }
  }

  /**
   * Remembers a connection that lives by a result, so that a revocation ends it.
   * @returns call when the connection is gone, or lives by a newer result
   */
  watch(proof: Watched, close: (why: Denied) => void): () => void {
    const key = machineOf(proof);
    const bound = { proof, close };
    let all = this.#connections.get(key);
    if (all === undefined) this.#connections.set(key, (all = new Roster()));
    const roster = all;
    const place = roster.add(bound);
    return () => {
      place.leave();
      if (roster.size === 0 && this.#connections.get(key) === roster) this.#connections.delete(key);
    };
  }

  /** Forgetting another would let an older result of that device in again: the newcomer is refused. */
  #requireRoom({ issuer, device }: EarContent): void {
    if (this.#seen.size < MAX_DEVICES || (this.#devicesOf.get(issuer) ?? 0) < ALWAYS) return;
    throw new Denied('device.superseded', `${device}: more than ${MAX_DEVICES} devices at once`);
  }

  #forget(key: string): void {
    const known = this.#seen.get(key);
    if (known === undefined) return;
    this.#seen.delete(key);
    const left = (this.#devicesOf.get(known.issuer) ?? 0) - 1;
    if (left > 0) this.#devicesOf.set(known.issuer, left);
    else this.#devicesOf.delete(known.issuer);
  }

  /** Expired results cannot come back, so nothing has to be remembered against them. */
  #forgetExpired(now: EpochSeconds): void {
    for (const [key, { forgetAt }] of this.#seen) {
      if (forgetAt > now) return;
      this.#forget(key);
    }
  }
}

const machineOf = ({ issuer, device }: Pick<EarContent, 'issuer' | 'device'>): string =>
  `${issuer} ${device}`;

/** Two attestation services may use one name; and a device has one result for each gateway it talks to. */
function keyOf(content: EarContent): string {
  let key = keys.get(content);
  if (key === undefined) keys.set(content, (key = `${content.issuer} ${content.device} ${content.audience}`));
  return key;
}

/** Made once for a result, which is looked at several times an exchange. */
const keys = new WeakMap<EarContent, string>();

function seen(content: EarContent, former: Seen | undefined): Seen {
  const standing = standingOf(content);
  let floor = former?.floor;
  if (former !== undefined && isWorse(standing, former.standing)) floor = standing;
  // It got better. What is older than the worse one was ended by that, and stays so.
  else if (former !== undefined && isWorse(former.standing, standing)) floor = former.standing;
  return {
    id: content.id,
    issuer: content.issuer,
    standing,
    floor,
    forgetAt: content.issuedAt + MAX_RESULT_SECONDS,
  };
}

const isAbove = (standing: Standing, floor: Standing | undefined): boolean =>
  floor === undefined || compareAge(standing, floor) >= 0;

function standingOf(content: EarContent): Standing {
  const { class: kind, gateway, bindingKey, epoch, resetCount, restartCount, sequence } = content;
  const { tpm, health, cves } = content;
  const start = { epoch, resetCount, restartCount, sequence };
  return { class: kind, gateway, bindingKey, ...start, tpm, health, cves };
}
