import type { EpochSeconds } from '../core/clock.ts';
import { Denied, MalformedBytes } from '../core/errors.ts';
import type { EarContent } from './ear.ts';
import { openToken, signToken, type TokenKey, TokenRefused, type TokenSigner } from './token.ts';

/** What is taken back from one device: all results of an older epoch, and all issued before a time. */
export interface Revocation {
  readonly device: string;
  readonly epoch: number;
  readonly issuedBefore: EpochSeconds;
}

const MAX_ENTRIES = 100_000;
/** The longest that a service gives a result: what was taken back before that binds nobody any more. */
export const MAX_RESULT_SECONDS = 300;

/** A signed list: everything an attestation service has taken back and whose results could still be alive. */
export class Revocations {
  declare protected readonly nominal: never;
  readonly issuer: string;
  /** Grows with every change. */
  readonly sequence: number;
  readonly issuedAt: EpochSeconds;
  readonly #byDevice: ReadonlyMap<string, Revocation>;

  private constructor(
    issuer: string,
    sequence: number,
    issuedAt: EpochSeconds,
    entries: readonly Revocation[],
  ) {
    this.issuer = issuer;
    this.sequence = sequence;
    this.issuedAt = issuedAt;
    this.#byDevice = new Map(entries.map((entry) => [entry.device, entry]));
  }

  /** @throws Denied `device.result` when it is not signed by one of the keys, or is no such list */
  static open(token: string, keys: readonly TokenKey[]): Revocations {
    try {
      const { key, payload } = openToken('troad-device-revocations+jwt', token, keys);
      const { seq, iat, revoked } = payload;
      if (!isCount(seq) || !isCount(iat) || !Array.isArray(revoked) || revoked.length > MAX_ENTRIES) {
        throw new MalformedBytes('list of revocations: seq, iat or revoked');
      }
      return new Revocations(key.issuer, seq, iat, (revoked as readonly unknown[]).map(parseEntry));
    } catch (cause) {
      if (!(cause instanceof TokenRefused || cause instanceof MalformedBytes)) throw cause;
      throw new Denied('device.result', cause.message, { cause });
    }
  }

  get devices(): Iterable<string> {
    return this.#byDevice.keys();
  }

  /**
   * This list, with what an older one said and this one does not: a service that was started anew has forgotten what it
   * took back, and results of before are still alive.
   * @param now entries older than any result can be are dropped
   */
  after(older: Revocations, now: EpochSeconds): Revocations {
    const entries = new Map(this.#byDevice);
    for (const entry of older.#byDevice.values()) {
      const mine = entries.get(entry.device);
      if (mine === undefined && entry.issuedBefore + MAX_RESULT_SECONDS < now) continue;
      entries.set(entry.device, {
        device: entry.device,
        epoch: Math.max(entry.epoch, mine?.epoch ?? 0),
        issuedBefore: Math.max(entry.issuedBefore, mine?.issuedBefore ?? 0),
      });
    }
    return new Revocations(this.issuer, this.sequence, this.issuedAt, [...entries.values()]);
  }

  /** Does it say all that an older one says of results that could still be alive? */
  covers(older: Revocations, now: EpochSeconds): boolean {
    for (const { device, epoch, issuedBefore } of older.#byDevice.values()) {
      const mine = this.#byDevice.get(device);
      if (
        mine === undefined
          ? issuedBefore + MAX_RESULT_SECONDS >= now
          : mine.epoch < epoch || mine.issuedBefore < issuedBefore
      )
        return false;
    }
    return true;
  }

  /** @throws Denied `device.revoked` */
  requireNotRevoked({ device, epoch, issuedAt }: EarContent): void {
    const entry = this.#byDevice.get(device);
    if (entry === undefined) return;
    if (epoch < entry.epoch || issuedAt < entry.issuedBefore) throw new Denied('device.revoked', device);
  }
}

export function signRevocations(
  entries: readonly Revocation[],
  sequence: number,
  issuedAt: EpochSeconds,
  signer: TokenSigner,
): string {
  const revoked = entries.map(({ device, epoch, issuedBefore }) => [device, epoch, issuedBefore]);
  const payload = { iss: signer.issuer, iat: issuedAt, seq: sequence, revoked };
  return signToken('troad-device-revocations+jwt', payload, signer);
}

function parseEntry(entry: unknown): Revocation {
  const [device, epoch, issuedBefore, ...more] = Array.isArray(entry) ? (entry as readonly unknown[]) : [];
  if (typeof device !== 'string' || !isCount(epoch) || !isCount(issuedBefore) || more.length > 0) {
    throw new MalformedBytes('list of revocations: an entry');
  }
  return { device, epoch, issuedBefore };
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
