import { requireEpochs, type ReadStorage } from '../audit/folder.ts';
import { exchangeRecord, forEachRecord, readCore, type ExchangeRecord } from '../audit/records.ts';
import { base64url, sha256 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { isObject } from '../trust/canonical.ts';
import type { PolicyFacts } from '../evidence/record.ts';
import { wordOf, type OutcomeWord } from './outcome.ts';

/** A decision as a log has it. What the record says is its gateway's word, checked for types only. */
export interface RecordedDecision {
  /** Folder of the log's epoch. */
  readonly log: string;
  readonly index: bigint;
  readonly record: ExchangeRecord;
  readonly policy: PolicyFacts;
  readonly word: OutcomeWord;
  /** The very bytes that were decided on; `sealed` when the key of their day is not here. */
  readonly input: Buffer | 'sealed';
}

/** A record that cites a decision and contradicts itself. */
export interface BadRecord {
  readonly log: string;
  readonly index: bigint;
  readonly detail: string;
}

export interface DecisionVisitor {
  decision(decision: RecordedDecision): void;
  bad(record: BadRecord): void;
}

/**
 * Only a record with this text has an input. Nothing else can spell it: inside a string its quotes would be escaped, and
 * {@link readCore} takes a record in one spelling only.
 */
const HAS_INPUT = '"input":{"c":';

/**
 * Visits every recorded decision of the logs in the order it was made; the first record of an exchange carries it. That
 * the log is whole and signed is for `troad audit verify` to say.
 */
export async function forEachDecision(
  storage: ReadStorage,
  logs: readonly string[],
  visitor: DecisionVisitor,
): Promise<void> {
  for (const folder of logs) {
    for (const epoch of await requireEpochs(storage, folder)) {
      await forEachRecord(storage, epoch, ({ index, bytes, parts }) => {
        if (!bytes.includes(HAS_INPUT)) return;
        const at = { log: epoch.path, index };
        try {
          const core = readCore(bytes);
          const record = exchangeRecord(core);
          if (record === undefined) throw new MalformedBytes('a policy input in a record of no exchange');
          const { policy, word } = readPolicy(record.pol);
          const input = parts.open(core, 'input');
          if (input !== 'sealed' && base64url(sha256(input)) !== policy.i)
            throw new MalformedBytes('the input is not the one the record cites');
          visitor.decision({ ...at, record, policy, word, input });
        } catch (cause) {
          if (!(cause instanceof MalformedBytes)) throw cause;
          visitor.bad({ ...at, detail: cause.message });
        }
      });
    }
  }
}

/** @throws MalformedBytes */
function readPolicy(raw: unknown): Pick<RecordedDecision, 'policy' | 'word'> {
  if (!isObject(raw)) throw new MalformedBytes('the record has an input and no decision');
  const { b, e, i, o, allow, agreement, reasons = [], obligations } = raw;
  const texts = [b, e, i, o].every((text) => typeof text === 'string');
  const codes = Array.isArray(reasons) && reasons.every((code: unknown) => typeof code === 'string');
  if (!texts || !codes || typeof allow !== 'boolean' || !['string', 'undefined'].includes(typeof agreement))
    throw new MalformedBytes('the record’s decision is malformed');
  const policy = raw as unknown as PolicyFacts; // each member was just looked at
  return { policy, word: wordOf(allow, obligations) };
}

/** `pol` is written with `b` first, a digest of 43 characters. */
const CITES = '"pol":{"b":"';

/** Digests of all bundles the logs' decisions cite. One that is spelled otherwise is missing, so is never decided with. */
export async function bundlesCited(
  storage: ReadStorage,
  logs: readonly string[],
): Promise<ReadonlySet<string>> {
  const cited = new Set<string>();
  for (const folder of logs) {
    for (const epoch of await requireEpochs(storage, folder)) {
      await forEachRecord(storage, epoch, ({ bytes }) => {
        if (!bytes.includes(HAS_INPUT)) return;
        const at = bytes.indexOf(CITES);
        if (at >= 0) cited.add(bytes.toString('latin1', at + CITES.length, at + CITES.length + 43));
      });
    }
  }
  return cited;
}
