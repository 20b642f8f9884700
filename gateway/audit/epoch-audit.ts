import { base64 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { HASHES_FILE } from '../evidence/hash-store.ts';
import type { CoreRecord } from '../evidence/record.ts';
import { readSegmentHead } from '../evidence/segment.ts';
import { openCheckpoint, type Checkpoint } from '../tlog/checkpoint.ts';
import type { CoveredUntil } from './coverage.ts';
import { DeepPass } from './deep-pass.ts';
import type { ExchangeBook } from './exchanges.ts';
import { listSegments, type EpochFolder, type ReadStorage } from './folder.ts';
import { hashEpoch, type HashedLog } from './hash-pass.ts';
import { compareHead, readOwnHeads } from './heads.ts';
import { PolicyTrail } from './policies.ts';
import { exchangeRecord, forEachRecord, readCore, textOf, timeText, type ExchangeRecord } from './records.ts';
import { Step, type LogReport } from './report.ts';
import { SegmentReader } from './segment-reader.ts';
import { StoredHashes } from './stored-hashes.ts';
import type { Trust, TrustedGateway, TrustedLog } from './trust-file.ts';

export interface AuditOptions {
  readonly storage: ReadStorage;
  /** Folders of logs. */
  readonly logs: readonly string[];
  readonly trust: Trust;
  /** Message signatures and sealed parts too. */
  readonly deep: boolean;
}

/** A clock that was set back further than this is told: records of one moment are seconds apart at most. */
const CLOCK_STEP_MS = 60_000;

/** What is collected in one of several passes over all records. */
export interface Pass {
  readonly pass: number;
  /** The pass in which an exchange is looked at. */
  readonly passOf: (x: string) => number;
  readonly book: ExchangeBook;
  /** How far the records of each origin were told: of several copies of a log, each record counts once. */
  readonly told: Map<string, bigint>;
}

/** The audit of one epoch of one log. */
export class EpochAudit {
  readonly epoch: EpochFolder;
  /** What the log says it is; a claim until its heads verify. */
  readonly origin: string | undefined;
  readonly #options: AuditOptions;
  readonly #log: TrustedLog | undefined;
  readonly #known = new Step('the log is one the trust file names');
  readonly #tree = new Step('every record is as it was written');
  readonly #heads = new Step('signed heads fit the records');
  readonly #seen = new Step('heads that others have seen fit the records');
  readonly #stored = new Step('stored hashes are the tree’s');
  readonly #form = new Step('records are well-formed');
  readonly #policies: PolicyTrail;
  readonly #peers = new Step('heads of peers are signed by the peers');
  readonly #deep: DeepPass;
  #own: readonly Checkpoint[] = [];
  #size = 0n;
  #root: Buffer | undefined;

  private constructor(options: AuditOptions, epoch: EpochFolder, origin: string | undefined) {
    this.#options = options;
    this.epoch = epoch;
    this.origin = origin;
    this.#log = origin === undefined ? undefined : options.trust.logs.get(origin);
    this.#policies = new PolicyTrail(this.#log?.gateway.policy ?? []);
    this.#deep = new DeepPass(options.trust);
    if (this.#log === undefined) this.#known.find('fail', 'unknown log', origin ?? 'no origin can be read');
    else this.#known.checked = 1;
  }

  get gateway(): TrustedGateway | undefined {
    return this.#log?.gateway;
  }

  static async begin(options: AuditOptions, epoch: EpochFolder): Promise<EpochAudit> {
    const [first] = epoch.segments;
    let origin: string | undefined;
    try {
      const bytes = first === undefined ? undefined : await new SegmentReader(options.storage).read(first);
      origin = bytes === undefined ? undefined : readSegmentHead(bytes).head.origin;
    } catch {
      // The hash pass says what is wrong with it.
    }
    return new EpochAudit(options, epoch, origin);
  }

  /** One of several passes; those after the first only collect other exchanges. */
  async readRecords(
    { pass, passOf, book, told }: Pass,
    foreign: Map<string, Checkpoint[]>,
    covered: CoveredUntil,
  ): Promise<void> {
    let last: CoreRecord | undefined;
    let latest = -Infinity;
    const before = told.get(this.origin ?? '') ?? 0n;
    let next = before;
    await forEachRecord(this.#options.storage, this.epoch, (logged) => {
      const isNew = logged.index >= before;
      next = logged.index + 1n;
      try {
        const core = readCore(logged.bytes);
        const exchange = exchangeRecord(core);
        if (isNew && exchange !== undefined && passOf(exchange.x) === pass) book.add(logged.index, exchange);
        if (pass > 0) return;
        if (isNew) last = core;
        if (core.at < latest - CLOCK_STEP_MS) {
          const detail = `dated ${timeText(core.at)}, behind a record of ${timeText(latest)}`;
          this.#form.find('note', 'clock', detail, at(logged.index));
        }
        latest = Math.max(latest, core.at);
        this.#form.checked += 1;
        this.#policies.read(core, logged.index);
        if (exchange !== undefined) this.#requireOwn(exchange, logged.index);
        if (core.k === 'peer.cp' || core.k === 'dispute') this.#readPeerHeads(core, logged.index, foreign);
        if (this.#options.deep) this.#deep.read(core, exchange, logged);
      } catch (cause) {
        if (!(cause instanceof MalformedBytes)) throw cause;
        if (pass === 0) this.#form.find('fail', 'malformed', cause.message, at(logged.index));
      }
    });
    if (next > before) told.set(this.origin ?? '', next);
    // Up to its latest record, not to its last: whoever left something out could date that one before it.
    if (this.#log !== undefined && last !== undefined) covered.note(this.#log, { k: last.k, at: latest });
  }

  #requireOwn({ me, x }: ExchangeRecord, index: bigint): void {
    if (this.#log === undefined || me === this.#log.gateway.name) return;
    this.#form.find('fail', 'contradiction', `record of ${me} in a log of ${this.#log.gateway.name}`, {
      ...at(index),
      exchange: x,
    });
  }

  #readPeerHeads(core: CoreRecord, index: bigint, foreign: Map<string, Checkpoint[]>): void {
    // Whoever wrote the log chose these, types included.
    const { peer, why, note, notes, size, root }: Readonly<Record<string, unknown>> = { ...core };
    if (core.k === 'dispute') {
      this.#peers.find('note', 'dispute', `${textOf(peer)}: ${textOf(why)}`, at(index));
    }
    for (const text of core.k === 'dispute' && Array.isArray(notes) ? notes : [note]) {
      try {
        const head = openCheckpoint(
          textOf(text),
          [...this.#options.trust.logs.values()].map((log) => log.verifier),
        );
        const owner = this.#options.trust.logs.get(head.origin)?.gateway.name;
        if (owner !== peer) throw new MalformedBytes(`head of ${owner} kept as one of ${textOf(peer)}`);
        if (core.k === 'peer.cp' && (size !== String(head.size) || root !== base64(head.root))) {
          throw new MalformedBytes('the record and the note in it differ');
        }
        const heads = foreign.get(head.origin) ?? [];
        heads.push(head);
        foreign.set(head.origin, heads);
        this.#peers.checked += 1;
      } catch (cause) {
        if (!(cause instanceof MalformedBytes)) throw cause;
        this.#peers.find('fail', 'peer head', cause.message, at(index));
      }
    }
  }

  /** Heads that the log has kept of itself. */
  get own(): readonly Checkpoint[] {
    return this.#own;
  }

  async readHeads(): Promise<void> {
    this.#own = await readOwnHeads(this.#options.storage, this.epoch, this.#log, this.#heads);
  }

  /**
   * The tree, and every head that anybody holds of it.
   * @param copies heads of other copies of this log, which may be older or newer
   */
  async hash(foreign: readonly Checkpoint[], copies: readonly Checkpoint[]): Promise<void> {
    const { storage } = this.#options;
    const own = this.#own;
    // Listed after the heads were read: a log that runs may have begun a segment in between.
    const epoch = { ...this.epoch, segments: await listSegments(storage, this.epoch.path) };
    const stored = new StoredHashes(storage, `${this.epoch.path}/${HASHES_FILE}`);
    const sizes = [...own, ...foreign, ...copies].map(({ size }) => size);
    const comparing = this.#comparing(stored);
    const hashed = await hashEpoch(storage, epoch, sizes, comparing);
    await comparing.compare();
    for (const head of own) compareHead(this.#heads, head, hashed);
    for (const head of foreign) compareHead(this.#seen, head, hashed);
    // The other copy tells of those that are beyond this one.
    for (const head of copies) if (hashed.roots.has(head.size)) compareHead(this.#seen, head, hashed);
    this.#judgeTail(own, hashed);
  }

  /** Stored hashes are a short cut for others: where they cannot be read, that is said, and the tree is hashed all the same. */
  #comparing(stored: StoredHashes) {
    const compare = async (): Promise<void> => {
      if (this.#stored.failed) return;
      try {
        await stored.compare();
        this.#stored.checked = stored.compared;
        if (stored.differing !== undefined)
          this.#stored.find('fail', 'damaged', `hash ${stored.differing} of ${HASHES_FILE} is another one`);
      } catch (cause) {
        if (!(cause instanceof MalformedBytes)) throw cause;
        this.#stored.find('fail', 'damaged', `${HASHES_FILE} ${cause.message}`);
      }
    };
    return { add: stored.add, compare };
  }

  /** What stands behind the newest signed head is nobody's word yet: a copy of a running log ends in the middle of work. */
  #judgeTail(own: readonly Checkpoint[], { frontier, damage }: HashedLog): void {
    const signed = own.reduce((most, { size }) => (size > most ? size : most), 0n);
    const good = frontier.size < signed ? frontier.size : signed;
    this.#size = good;
    this.#tree.checked = Number(good);
    this.#root = own.find(({ size }) => size === good)?.root;
    if (damage !== undefined && (damage.index < signed || own.length === 0)) {
      this.#tree.find('fail', damage.kind, damage.detail, at(damage.index));
    } else if (damage !== undefined) {
      this.#tree.notCheckable += 1;
      const detail = `${damage.detail}: behind the newest signed head`;
      this.#tree.find('note', 'unsigned tail', detail, at(damage.index));
    }
    if (frontier.size > signed) {
      this.#tree.notCheckable += Number(frontier.size - signed);
      const detail = `${frontier.size - signed} records are behind the newest signed head`;
      this.#tree.find('note', 'unsigned tail', detail, at(signed));
    }
  }

  report(): LogReport {
    const { deep } = this.#options;
    return {
      path: this.epoch.path,
      origin: this.origin,
      gateway: this.#log?.gateway.name,
      member: this.#log?.gateway.member,
      size: String(this.#size),
      root: this.#root === undefined ? '' : base64(this.#root),
      steps: [
        this.#known,
        this.#tree,
        this.#heads,
        this.#seen,
        this.#stored,
        this.#form,
        this.#policies.step,
        this.#policies.releases,
        this.#peers,
        ...(deep ? this.#deep.steps : []),
      ].map((step) => step.report()),
    };
  }
}

const at = (index: bigint): { readonly index: string } => ({ index: String(index) });
