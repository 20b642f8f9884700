import type { CoreRecord } from '../evidence/record.ts';
import { describe, MalformedBytes } from '../core/errors.ts';
import { BundleRefused } from '../trust/bundle-refused.ts';
import { formatRelease, parseRelease, requireSignatures, type Release } from '../trust/release.ts';
import { textOf } from './records.ts';
import { Step } from './report.ts';
import type { TrustedSigners } from './trust-file.ts';

/** Kinds of record that are written at a decision; later ones repeat what the first has said. */
const DECIDED: ReadonlySet<string> = new Set(['open', 'req.final', 'recheck', 'deny']);

/**
 * Which policies a log says were in force, in its order: a decision cites one that was activated before it, and no
 * activation goes back to an older version. (A return to an earlier one, and a start with it, say so themselves.)
 */
export class PolicyTrail {
  /** What the trust file says about who releases policies; an auditor without it believes the gateway. */
  readonly releases = new Step('policies in force were released by those trusted to');
  readonly step = new Step('decisions are of policies in force');
  readonly #activated = new Set<string>();
  #version = 0;
  readonly #trusted: readonly TrustedSigners[];

  constructor(trusted: readonly TrustedSigners[]) {
    this.#trusted = trusted;
  }

  read(core: CoreRecord, index: bigint): void {
    // Whoever wrote the log chose these, types included.
    if (core.k === 'policy') {
      const { bundle, act, version }: Readonly<Record<string, unknown>> = { ...core };
      this.#activate(textOf(bundle), act, version, index);
      this.#requireRelease(core, index);
    } else if (DECIDED.has(core.k) && 'pol' in core) {
      const pol: unknown = core.pol;
      if (typeof pol === 'object' && pol !== null && 'b' in pol) this.#cite(textOf(pol.b), index);
    }
  }

  #activate(bundle: string, act: unknown, version: unknown, index: bigint): void {
    this.#activated.add(bundle);
    const number = typeof version === 'number' ? version : 0;
    if (act === 'activate' && number < this.#version) {
      const detail = `version ${number} of ${bundle} was activated after version ${this.#version}`;
      this.step.find('fail', 'rollback', detail, { index: String(index) });
    }
    this.#version = Math.max(this.#version, number);
  }

  #requireRelease(core: CoreRecord, index: bigint): void {
    if (this.#trusted.length === 0) {
      this.releases.notCheckable += 1;
      return;
    }
    try {
      const { release, at, act } = releaseIn(core);
      // A start may be with one that has expired since it was put in force.
      if (act === 'activate' && (at < release.notBefore || at >= release.expiresAt))
        throw new MalformedBytes('put in force outside the time it was released for');
      const then = this.#trusted.filter(({ notBefore, notAfter }) => at >= notBefore && at < notAfter);
      if (then.length === 0) throw new MalformedBytes('nobody was trusted to release policies at that time');
      const refused = then.map((signers) => refusalBy(signers, release));
      if (refused.every((why) => why !== undefined)) throw new MalformedBytes(refused.join('; '));
      this.releases.checked += 1;
    } catch (cause) {
      if (!(cause instanceof MalformedBytes)) throw cause;
      const { bundle }: Readonly<Record<string, unknown>> = { ...core };
      this.releases.find('fail', 'release', `${textOf(bundle)}: ${cause.message}`, { index: String(index) });
    }
  }

  #cite(bundle: string, index: bigint): void {
    if (this.#activated.has(bundle)) this.step.checked += 1;
    // Records of a part of a log, and of logs before there were activations.
    else if (this.#activated.size === 0) this.step.notCheckable += 1;
    else {
      const detail = `decided by ${bundle}, which this log does not say was in force`;
      this.step.find('fail', 'policy', detail, { index: String(index) });
    }
  }
}

/** The release a record repeats, read as strictly as a file is. @throws MalformedBytes */
function releaseIn(core: CoreRecord): {
  readonly release: Release;
  readonly at: number;
  readonly act: unknown;
} {
  // Whoever wrote the log chose these, types included.
  const { bundle, version, from, until, signatures, at, act }: Readonly<Record<string, unknown>> = {
    ...core,
  };
  if (signatures === undefined) throw new MalformedBytes('nobody released it');
  if (typeof at !== 'number') throw new MalformedBytes('no time');
  const claimed = { bundle, version, notBefore: from, expiresAt: until, signatures } as Release; // judged by parseRelease
  try {
    return { release: parseRelease(Buffer.from(formatRelease(claimed))), at, act };
  } catch (cause) {
    throw new MalformedBytes(describe(cause), { cause });
  }
}

/** Why these signers did not release it; undefined when they did. */
function refusalBy(signers: TrustedSigners, release: Release): string | undefined {
  try {
    requireSignatures(release, signers);
    return undefined;
  } catch (cause) {
    if (cause instanceof BundleRefused) return cause.message;
    throw cause;
  }
}
