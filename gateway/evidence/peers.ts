import { sha256 } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import { MalformedBytes } from '../core/errors.ts';
import { openCheckpoint, type Checkpoint } from '../tlog/checkpoint.ts';
import { parseVerifierKey, type NoteVerifier } from '../tlog/note.ts';
import type { PeerCheckpoint, PeerObservation } from './contract.ts';
import type { RecordDraft } from './record.ts';
import { replaceFile, type Storage } from './storage.ts';

/** A busy peer signs ten heads a second; one record of it in ten seconds dates our records well enough. */
const RECORD_EVERY_MS = 10_000;
/** An older head that comes this much later than the newer one was not overtaken on the way. */
const OVERTAKEN_MS = 60_000;
/** Heads we remember the root of, for one that comes late. */
const REMEMBERED = 256;

/** What one of a peer's logs has shown us. */
interface PeerLog {
  newest: SignedHead;
  newestAt: number;
  /** Size to signed head, newest last. */
  readonly seen: Map<bigint, SignedHead>;
  recordedAt: number;
  readonly disputes: Set<string>;
}

interface SignedHead extends Checkpoint {
  readonly note: string;
}

export interface PeersOptions {
  readonly dir: string;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly record: (draft: RecordDraft) => Promise<unknown>;
}

/**
 * What peers' logs have signed before us. A log that shows two trees, or forgets records, contradicts its own signature;
 * both signatures go into our log as the proof.
 */
export class Peers {
  readonly #options: PeersOptions;
  readonly #logs = new Map<string, PeerLog>();
  readonly #verifiers = new Map<string, NoteVerifier>();
  /** Observations of one peer, one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /** @throws MalformedBytes not a checkpoint signed by one of the keys */
  async observe({ peer, note, vkeys }: PeerCheckpoint): Promise<PeerObservation> {
    // The most frequent case by far: nothing new since the last message. Not worth a signature check.
    for (const { newest } of this.#logs.values()) if (newest.note === note) return 'same';
    const head = { note, ...openCheckpoint(note, vkeys.map(this.#verifier)) };
    const observation = this.#last.then(() => this.#compare(peer, head));
    this.#last = observation.catch(() => undefined);
    return observation;
  }

  readonly #verifier = (vkey: string): NoteVerifier => {
    let verifier = this.#verifiers.get(vkey);
    if (verifier === undefined) {
      verifier = parseVerifierKey(vkey);
      this.#verifiers.set(vkey, verifier);
    }
    return verifier;
  };

  async #compare(peer: string, head: SignedHead): Promise<PeerObservation> {
    const now = this.#options.clock.monotonic();
    const log = this.#logs.get(head.origin) ?? (await this.#load(head, now));
    if (log === undefined) {
      await this.#keep(peer, head, now);
      return 'grown';
    }
    const other = log.seen.get(head.size);
    if (other !== undefined && !other.root.equals(head.root)) {
      return this.#dispute(peer, log, 'two trees of one size', [other, head]);
    }
    if (head.size < log.newest.size) {
      const late = now - log.newestAt > OVERTAKEN_MS;
      return late
        ? this.#dispute(peer, log, 'a smaller tree after a larger one', [log.newest, head])
        : 'older';
    }
    if (head.size === log.newest.size) return 'same';
    await this.#keep(peer, head, now, log);
    return 'grown';
  }

  async #keep(peer: string, head: SignedHead, now: number, log?: PeerLog): Promise<void> {
    const known =
      log ??
      ({
        newest: head,
        newestAt: now,
        seen: new Map(),
        recordedAt: -Infinity,
        disputes: new Set(),
      } satisfies PeerLog);
    known.newest = head;
    known.newestAt = now;
    known.seen.set(head.size, head);
    if (known.seen.size > REMEMBERED) {
      const [oldest] = known.seen.keys();
      if (oldest !== undefined) known.seen.delete(oldest);
    }
    this.#logs.set(head.origin, known);
    if (now - known.recordedAt < RECORD_EVERY_MS) return;
    known.recordedAt = now;
    const { origin, size, root, note } = head;
    await this.#options.record({
      k: 'peer.cp',
      at: this.#options.clock.now(),
      peer,
      origin,
      size: String(size),
      root: root.toString('base64'),
      note,
    });
    // After the record: a crash in between records it once more, the other order would forget it.
    await replaceFile(this.#options.storage, this.#path(origin), note);
  }

  async #dispute(
    peer: string,
    log: PeerLog,
    why: string,
    heads: readonly SignedHead[],
  ): Promise<PeerObservation> {
    const key = heads.map(({ size, root }) => `${size} ${root.toString('base64')}`).join(' ');
    // Once per contradiction: a peer that repeats itself must not fill our log.
    if (!log.disputes.has(key)) {
      log.disputes.add(key);
      const notes = heads.map(({ note }) => note);
      await this.#options.record({ k: 'dispute', at: this.#options.clock.now(), peer, why, notes });
    }
    return 'disputed';
  }

  /** What the last process knew. */
  async #load({ origin }: SignedHead, now: number): Promise<PeerLog | undefined> {
    const note = (await this.#options.storage.readFile(this.#path(origin)))?.toString('utf8');
    if (note === undefined) return undefined;
    const newest = { note, ...openCheckpoint(note, this.#verifiersOf(origin)) };
    // How long ago it came is not known: long enough for nothing to be on the way still.
    const log: PeerLog = {
      newest,
      newestAt: now - OVERTAKEN_MS - 1,
      seen: new Map([[newest.size, newest]]),
      recordedAt: -Infinity,
      disputes: new Set(),
    };
    this.#logs.set(origin, log);
    return log;
  }

  #verifiersOf(origin: string): NoteVerifier[] {
    const known = [...this.#verifiers.values()].filter(({ name }) => name === origin);
    if (known.length === 0) throw new MalformedBytes('no key for a stored checkpoint');
    return known;
  }

  /** Origins are chosen by others: the file is named after a hash. */
  #path(origin: string): string {
    return `${this.#options.dir}/${sha256(origin).toString('hex').slice(0, 32)}.note`;
  }
}
