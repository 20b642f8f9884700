import type { EpochMs, EpochSeconds } from '../core/clock.ts';
import { Denied, MalformedBytes } from '../core/errors.ts';
import type { EarContent } from './ear.ts';
import { openToken, signToken, type TokenKey, TokenRefused, type TokenSigner } from './token.ts';

/** What is taken back from one device: all results of an older epoch, and all with a smaller number. */
export interface Revocation {
  readonly device: string;
  readonly epoch: number;
  /** {@link EarContent.sequence} of the first one that is not. */
  readonly before: EpochMs;
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
  after(older: Revocations, now: EpochMs): Revocations {
    const entries = new Map(this.#byDevice);
    for (const entry of older.#byDevice.values()) {
      const mine = entries.get(entry.device);
      if (mine === undefined && entry.before + MAX_RESULT_SECONDS * 1000 < now) continue;
      entries.set(entry.device, {
        device: entry.device,
        epoch: Math.max(entry.epoch, mine?.epoch ?? 0),
        before: Math.max(entry.before, mine?.before ?? 0),
      });
    }
    return new Revocations(this.issuer, this.sequence, this.issuedAt, [...entries.values()]);
  }

  /** Does it say all that an older one says of results that could still be alive? */
  covers(older: Revocations, now: EpochMs): boolean {
    for (const { device, epoch, before } of older.#byDevice.values()) {
      const mine = this.#byDevice.get(device);
      if (
        mine === undefined
          ? before + MAX_RESULT_SECONDS * 1000 >= now
          : mine.epoch < epoch || mine.before < before
      )
        return false;
    }
    return true;
  }

  /** @throws Denied `device.revoked` */
  requireNotRevoked({ device, epoch, sequence }: EarContent): void {
    const entry = this.#byDevice.get(device);
    if (entry === undefined) return;
    if (epoch < entry.epoch || sequence < entry.before) throw new Denied('device.revoked', device);
  }
}

export function signRevocations(
  entries: readonly Revocation[],
  sequence: number,
  issuedAt: EpochSeconds,
  signer: TokenSigner,
): string {
  const revoked = entries.map(({ device, epoch, before }) => [device, epoch, before]);
  const payload = { iss: signer.issuer, iat: issuedAt, seq: sequence, revoked };
  return signToken('troad-device-revocations+jwt', payload, signer);
}

function parseEntry(entry: unknown): Revocation {
  const [device, epoch, before, ...more] = Array.isArray(entry) ? (entry as readonly unknown[]) : [];
  if (typeof device !== 'string' || !isCount(epoch) || !isCount(before) || more.length > 0) {
    throw new MalformedBytes('list of revocations: an entry');
  }
  return { device, epoch, before };
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
