import { type EpochMs, type EpochSeconds, toSeconds } from '../core/clock.ts';
import { Denied } from '../core/errors.ts';
import type { EarContent } from './ear.ts';
import type { Revocations } from './revocations.ts';

interface Seen {
  /** Of the newest result. */
  issuedAt: EpochSeconds;
  id: string;
  resetCount: number;
  restartCount: number;
  expiresAt: EpochSeconds;
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

/**
 * What a gateway knows about devices besides their results: the newest result of each, who was revoked, which policies
 * are in force, which connections hang on whom. In memory and bounded: what is forgotten has expired.
 */
export class DeviceRegister {
  readonly #seen = new Map<string, Seen>();
  readonly #revocations = new Map<string, Revocations>();
  readonly #connections = new Map<string, Set<Bound>>();
  #policies: ReadonlySet<string> | undefined;
  readonly #softwareTpm: (issuer: string) => void;

  /** @param softwareTpm told of each result about a TPM that is a program: that has to be loud */
  constructor(softwareTpm: (issuer: string) => void = () => undefined) {
    this.#softwareTpm = softwareTpm;
  }

  /**
   * Takes note of a result. A newer one replaces an older one at once, better or worse: going back to the better one is
   * what somebody with a compromised machine would do.
   * @returns false when it was known already
   * @throws Denied `device.superseded`, `device.revoked`
   */
  admit(content: EarContent, now: EpochSeconds): boolean {
    this.requireCurrent(content);
    const { device, issuedAt, id, resetCount, restartCount, expiresAt } = content;
    const key = keyOf(content);
    const newest = this.#seen.get(key);
    if (newest !== undefined && newest.id === id) return false;
    this.#seen.delete(key); // to the end: the map is ordered by the time of the newest result
    this.#seen.set(key, { issuedAt, id, resetCount, restartCount, expiresAt });
    if (content.softwareTpm) this.#softwareTpm(content.issuer);
    this.#forgetExpired(now);
    if (this.#seen.size > MAX_DEVICES) {
      // Forgetting would let an older result of that device in again: refuse the newcomer.
      this.#seen.delete(key);
      throw new Denied('device.superseded', `${device}: more than ${MAX_DEVICES} devices at once`);
    }
    return true;
  }

  /** Is nothing newer known? Look-ups only. @throws Denied `device.superseded`, `device.revoked` */
  requireCurrent(content: EarContent): void {
    const { device, issuedAt, id, resetCount, restartCount, policyId } = content;
    this.#revocations.get(content.issuer)?.requireNotRevoked(content);
    if (this.#policies !== undefined && !this.#policies.has(policyId)) {
      throw new Denied('device.superseded', `${device}: appraised with a policy that is not in force`);
    }
    const newest = this.#seen.get(keyOf(content));
    if (newest === undefined || newest.id === id) return;
    const older = issuedAt < newest.issuedAt;
    const beforeReboot =
      resetCount < newest.resetCount ||
      (resetCount === newest.resetCount && restartCount < newest.restartCount);
    // Two results of one second: the first one seen stays, so that they cannot be swapped back and forth.
    if (older || beforeReboot || issuedAt === newest.issuedAt) {
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
    const merged = known === undefined ? list : list.after(known, toSeconds(now));
    this.#revocations.set(list.issuer, merged);
    for (const device of list.devices) {
      for (const { proof, close } of this.#connections.get(`${list.issuer} ${device}`) ?? []) {
        try {
          proof.requireCurrent(now);
        } catch (thrown) {
          if (!(thrown instanceof Denied)) throw thrown;
          close(thrown);
        }
      }
    }
    return true;
  }

  /**
   * Remembers a connection that lives by a result, so that a revocation ends it.
   * @returns call when the connection is gone, or lives by a newer result
   */
  watch(proof: Watched, close: (why: Denied) => void): () => void {
    const key = `${proof.issuer} ${proof.device}`;
    const bound = { proof, close };
    let all = this.#connections.get(key);
    if (all === undefined) this.#connections.set(key, (all = new Set()));
    const set = all.add(bound);
    return () => {
      set.delete(bound);
      if (set.size === 0 && this.#connections.get(key) === set) this.#connections.delete(key);
    };
  }

  /** An expired result cannot come back, so nothing has to be remembered against it. */
  #forgetExpired(now: EpochSeconds): void {
    for (const [key, { expiresAt }] of this.#seen) {
      if (expiresAt > now) return;
      this.#seen.delete(key);
    }
  }
}

/** Two attestation services may use one name; and a device has one result for each gateway it talks to. */
const keyOf = ({ issuer, device, audience }: EarContent): string => `${issuer} ${device} ${audience}`;
