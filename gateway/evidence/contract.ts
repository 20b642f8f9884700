import type { KeyObject } from 'node:crypto';
import type { Clock, EpochMs } from '../core/clock.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { Writable } from './arena.ts';
import type { ExchangeRecord } from './exchange-facts.ts';
import type { Receipt } from './receipt.ts';
import type { PartClass, RecordDraft } from './record.ts';
import type { Storage } from './storage.ts';

/** Bytes of a record that may be personal: sealed apart, bound to the leaf by a salted commitment. A text is its UTF-8. */
export type RecordParts = { readonly [K in PartClass]?: Writable | undefined };

export type Health = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** An exchange id the log has seen lately, with what a replay store keys on. */
export interface SeenExchange {
  readonly x: ExchangeId;
  readonly at: EpochMs;
  readonly role: 'c' | 'p';
  readonly peer?: string;
  readonly kid?: string;
  /** Hashes of ids of the user's assertion and proof that it used up. */
  readonly once?: readonly string[];
}

/**
 * What a peer's checkpoint told us. `older`: smaller than the newest we know, but only so late that it may have been
 * overtaken on the way.
 */
export type PeerObservation = 'same' | 'grown' | 'older' | 'disputed';

export interface PeerCheckpoint {
  /** Registered name of the peer's gateway. */
  readonly peer: string;
  /** The signed note as received. */
  readonly note: string;
  /** C2SP verifier keys of the peer's logs, from the registry. */
  readonly vkeys: readonly string[];
}

/** Called on the commit path: must be quick and must not throw. */
export interface LogStats {
  committed?(batch: { readonly records: number; readonly bytes: number; readonly elapsedMs: number }): void;
  checkpoint?(size: bigint): void;
  health?(health: Health): void;
}

export interface OpenLogOptions {
  readonly dir: string;
  /** C2SP origin, the epoch (a decimal number) as its last part: `gw.a11.tw.troad.example/troad-log/gw1/1`. */
  readonly origin: string;
  /** Ed25519 private key that signs checkpoints. */
  readonly signingKey: KeyObject;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  /** What the `boot` record says. */
  readonly software: string;
  readonly pid: number;
  readonly storage?: Storage;
  /** Size of a segment file, at least 64 KiB. Default 64 MiB. Two are taken on the disk ahead of need. */
  readonly segmentBytes?: number;
  /** Records that may wait for the disk; beyond that, `append` refuses. Default 16,384. */
  readonly maxQueued?: number;
  /** Shortest time between two checkpoints. Default 100 ms. */
  readonly checkpointEveryMs?: number;
  /** Where the last signed tree head is kept against rollback. Default `<dir>/head`; better on another volume. */
  readonly headFile?: string;
  /** Give up the epoch found on disk (rolled back, damaged, or head lost) and start the one `origin` names. */
  readonly newEpoch?: boolean;
  readonly stats?: LogStats;
}

export interface EvidenceLog {
  readonly origin: string;
  /** Verifier key of the checkpoints, C2SP signed-note form. */
  readonly vkey: string;
  /** Number of durable records. */
  readonly size: bigint;
  /** Not ok: begin nothing new. Records of exchanges that have begun are taken as long as there is room. */
  readonly health: Health;
  /**
   * Resolves once the record is on disk. Refuses at once when the log cannot take it.
   * @throws Unavailable `evidence.unavailable`; RangeError the record is larger than a record may be
   */
  append(record: RecordDraft | ExchangeRecord, parts?: RecordParts): Promise<Receipt>;
  /**
   * Calls once, at the end of the next turn of the event loop when nothing is being written or about to be, and else just before the
   * next batch is: a record that is made then goes to disk as soon as one that waits already. For work that is better done for
   * many records at a time. Calls also when the log can take no more.
   */
  whenFree(caller: () => void): void;
  /** Latest signed note; at most `checkpointEveryMs` behind what is durable. */
  checkpoint(): string;
  /** RFC 6962 §2.1.2 between two sizes this log has had. @throws RangeError; Unavailable */
  proveConsistency(oldSize: bigint, newSize: bigint): Promise<Uint8Array[]>;
  /** RFC 6962 §2.1.1 audit path of a record in the tree of `size`. @throws RangeError; Unavailable */
  proveInclusion(index: bigint, size: bigint): Promise<Uint8Array[]>;
  /** Ids in `open` and `req.final` records of the last `withinMs`, oldest first: rebuilds the replay store at start. */
  recentExchanges(withinMs: number): Promise<SeenExchange[]>;
  /**
   * Compares a peer's checkpoint with what the peer showed before; keeps it, records it when it grew, records a
   * `dispute` when the peer contradicts itself.
   * @throws MalformedBytes not a checkpoint signed by one of the keys
   */
  observePeer(checkpoint: PeerCheckpoint): Promise<PeerObservation>;
  /** Stops taking records, writes `seal`, signs the last checkpoint. */
  close(): Promise<void>;
}
