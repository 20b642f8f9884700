import type { ReadStorage } from '../audit/folder.ts';
import { timeText } from '../audit/records.ts';
import { ConfigError, MalformedBytes, describe, quoted } from '../core/errors.ts';
import type { Bundle } from '../trust/bundle.ts';
import { PolicyEngine } from '../trust/engine.ts';
import type { BundleShelf } from './bundles.ts';
import { Flips, type FlipExample, type FlipGroup } from './flips.ts';
import { decideAgain, type Outcome } from './outcome.ts';
import { bundlesCited, forEachDecision, type RecordedDecision } from './recorded.ts';

export interface ReplayOptions {
  readonly storage: ReadStorage;
  readonly logs: readonly string[];
  /** Where the bundles are that decisions were made with. */
  readonly shelf: BundleShelf;
  /** Decide with this one instead, and tell what flips. */
  readonly policy?: Bundle;
}

export interface ReplayFinding {
  /** `differs`: the same bundle decides otherwise. `damaged`: the record contradicts itself. */
  readonly kind: 'differs' | 'damaged';
  readonly log: string;
  readonly index: string;
  readonly exchange: string | undefined;
  readonly detail: string;
}

export interface MissingBundle {
  readonly digest: string;
  /** Decisions that cite it. */
  readonly count: number;
  /** Where it was looked for, or what is wrong with what lies there. */
  readonly why: string;
}

export interface ReplayReport {
  /**
   * `identical`: every decision of the logs came out again, bit for bit. `differs`: at least one did not, or flips under the
   * new bundle. `incomplete`: none did, and not all could be made.
   */
  readonly result: 'identical' | 'differs' | 'incomplete';
  /** Digest of the new bundle; undefined when each decision was made with its own. */
  readonly policy: string | undefined;
  readonly decisions: number;
  readonly replayed: number;
  /** Decisions whose input is sealed, or was shredded: recorded, and not to be made again here. */
  readonly sealed: number;
  readonly missing: readonly MissingBundle[];
  readonly flips: readonly FlipGroup<FlipExample>[];
  readonly flipped: number;
  readonly findings: readonly ReplayFinding[];
  /** Findings beyond those listed. */
  readonly moreFindings: number;
}

const MAX_FINDINGS = 100;

/**
 * Makes the decisions of logs again: each under the bundle that made it, where anything but the same result bit for bit
 * is a finding; or all under a new bundle, where what flips is the answer.
 */
export async function replayLogs(options: ReplayOptions): Promise<ReplayReport> {
  const { storage, logs, shelf, policy } = options;
  const replay = new Replay(
    policy === undefined
      ? await ownEngines(await bundlesCited(storage, logs), shelf)
      : { engineFor: always(PolicyEngine.load(policy)), why: () => '' },
    policy !== undefined,
  );
  await forEachDecision(storage, logs, {
    decision: (decision) => replay.decision(decision),
    bad: ({ log, index, detail }) =>
      replay.find({ kind: 'damaged', log, index: String(index), exchange: undefined, detail }),
  });
  return replay.report(policy?.digest);
}

interface Engines {
  readonly engineFor: (digest: string) => PolicyEngine | undefined;
  readonly why: (digest: string) => string;
}

const always = (engine: PolicyEngine) => (): PolicyEngine => engine;

async function ownEngines(cited: ReadonlySet<string>, shelf: BundleShelf): Promise<Engines> {
  const engines = new Map<string, PolicyEngine>();
  const broken = new Map<string, string>();
  for (const digest of cited) {
    try {
      const bundle = await shelf.find(digest);
      if (bundle !== undefined) engines.set(digest, PolicyEngine.load(bundle));
    } catch (cause) {
      if (!(cause instanceof ConfigError)) throw cause;
      broken.set(digest, describe(cause));
    }
  }
  return {
    engineFor: (digest) => engines.get(digest),
    why: (digest) => broken.get(digest) ?? `looked for it in ${shelf.places}`,
  };
}

class Replay {
  readonly #engines: Engines;
  readonly #isNew: boolean;
  readonly #flips = new Flips<FlipExample>();
  readonly #missing = new Map<string, number>();
  readonly #findings: ReplayFinding[] = [];
  #more = 0;
  #decisions = 0;
  #replayed = 0;
  #sealed = 0;

  constructor(engines: Engines, isNew: boolean) {
    this.#engines = engines;
    this.#isNew = isNew;
  }

  decision(recorded: RecordedDecision): void {
    this.#decisions += 1;
    const { policy, input, log, index, record } = recorded;
    const damaged = (detail: string): void =>
      this.find({ kind: 'damaged', log, index: String(index), exchange: record.x, detail });
    if (input === 'sealed') {
      this.#sealed += 1;
      return;
    }
    const engine = this.#engines.engineFor(policy.b);
    if (engine === undefined) {
      this.#missing.set(policy.b, (this.#missing.get(policy.b) ?? 0) + 1);
      return;
    }
    let outcome: Outcome;
    try {
      outcome = decideAgain(engine, input);
    } catch (cause) {
      if (!(cause instanceof MalformedBytes)) throw cause;
      damaged(cause.message);
      return;
    }
    if (outcome.decisionId !== undefined && outcome.decisionId !== record.x) {
      damaged('the input is of another exchange');
      return;
    }
    this.#replayed += 1;
    if (this.#isNew) this.#compare(recorded, outcome);
    else this.#requireSame(recorded, outcome, engine.entrypoint);
  }

  find(finding: ReplayFinding): void {
    if (this.#findings.length < MAX_FINDINGS)
      this.#findings.push({ ...finding, detail: quoted(finding.detail, 400) });
    else this.#more += 1;
  }

  /** The result of another bundle differs in its bytes for many reasons; what counts is what comes of it. */
  #compare({ policy, word, record, log, index }: RecordedDecision, after: Outcome): void {
    const before = { word, reasons: policy.reasons ?? [] };
    if (before.word === after.word && String(before.reasons) === String(after.reasons)) return;
    this.#flips.add(before, after, () => ({
      exchange: record.x,
      log,
      index: String(index),
      at: timeText(record.at),
      client: record.client,
      service: record.svc,
      method: record.op,
    }));
  }

  #requireSame(
    { policy, word, record, log, index }: RecordedDecision,
    again: Outcome,
    entrypoint: string,
  ): void {
    const differing = [
      ...(again.digest === policy.o ? [] : ['result']),
      ...(again.word === word ? [] : [`outcome ${word} → ${again.word}`]),
      ...(String(again.reasons) === String(policy.reasons ?? [])
        ? []
        : [`reasons ${String(policy.reasons ?? 'none')} → ${String(again.reasons) || 'none'}`]),
      ...(entrypoint === policy.e ? [] : ['entry point']),
      ...(again.trouble === undefined ? [] : [again.trouble]),
    ];
    if (differing.length === 0) return;
    this.find({
      kind: 'differs',
      log,
      index: String(index),
      exchange: record.x,
      detail: `${differing.join('; ')} (policy ${policy.b})`,
    });
  }

  report(policy: string | undefined): ReplayReport {
    const missing = [...this.#missing].map(([digest, count]) => ({
      digest: quoted(digest),
      count,
      why: this.#engines.why(digest),
    }));
    const differs = this.#findings.length > 0 || this.#flips.count > 0;
    // Nothing decided proves nothing.
    const complete = this.#replayed === this.#decisions && this.#decisions > 0;
    return {
      result: differs ? 'differs' : complete ? 'identical' : 'incomplete',
      policy,
      decisions: this.#decisions,
      replayed: this.#replayed,
      sealed: this.#sealed,
      missing,
      flips: this.#flips.groups(),
      flipped: this.#flips.count,
      findings: this.#findings,
      moreFindings: this.#more,
    };
  }
}
