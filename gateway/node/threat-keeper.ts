import { readFile, stat } from 'node:fs/promises';
import type { ThreatIntelConfig } from '../config/threat-intel.ts';
import type { Clock } from '../core/clock.ts';
import { describe } from '../core/errors.ts';
import { requireFile } from '../core/file-errors.ts';
import type { Emit } from '../telemetry/events.ts';
import { MAX_FEED_BYTES, parseFeed, tablesOf, type Feed, type FeedKind } from '../trust/threat-feed.ts';
import { NO_FEEDS, type ThreatTables } from '../trust/threat.ts';

interface Source {
  readonly kind: FeedKind;
  readonly file: string;
  /** Identity of the file's state that was read last. */
  seen: string;
  problem: string | undefined;
  /** Last good content: a file that breaks grows old in every decision, and is not forgotten. */
  feed: Feed | undefined;
}

/**
 * The threat feeds of the process: files that somebody else replaces. Nothing of them stops a gateway; that a feed is
 * missing or old is an input of every decision, and an event for the operator.
 */
export class ThreatKeeper {
  readonly #config: ThreatIntelConfig;
  readonly #clock: Clock;
  readonly #emit: Emit;
  readonly #sources: readonly Source[];
  #tables: ThreatTables = NO_FEEDS;
  #stale = false;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<unknown> = Promise.resolve();

  private constructor(config: ThreatIntelConfig, clock: Clock, emit: Emit) {
    this.#config = config;
    this.#clock = clock;
    this.#emit = emit;
    const sources = (kind: FeedKind): Source[] =>
      config.files[kind].map((file) => ({ kind, file, seen: '', problem: undefined, feed: undefined }));
    this.#sources = [...sources('kev'), ...sources('epss'), ...sources('cvss')];
    if (this.#sources.length > 0) this.#tables = tablesOf([], false);
  }

  static async open(config: ThreatIntelConfig, clock: Clock, emit: Emit): Promise<ThreatKeeper> {
    const keeper = new ThreatKeeper(config, clock, emit);
    await keeper.refresh();
    return keeper;
  }

  /** For workers that begin now. */
  get tables(): ThreatTables {
    return this.#tables;
  }

  /** Of the oldest feed. Infinity while a configured one could never be read; undefined where none is configured. */
  get ageMs(): number | undefined {
    const { configured, publishedAt } = this.#tables;
    if (!configured) return undefined;
    return publishedAt === undefined ? Infinity : Math.max(0, this.#clock.now() - publishedAt);
  }

  /** Looks at the files every so often, until {@link close}. */
  watch(onChange: (tables: ThreatTables) => void): void {
    if (this.#sources.length === 0) return;
    this.#timer = setInterval(() => {
      this.#running = this.refresh().then((changed) => {
        if (changed) onChange(this.#tables);
      });
    }, this.#config.reloadMs).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  /** Looks at the files now. Never rejects. @returns true when another content came into use */
  async refresh(): Promise<boolean> {
    let changed = false;
    for (const source of this.#sources) changed = (await this.#read(source)) || changed;
    if (changed) {
      const feeds = this.#sources.map(({ feed }) => feed).filter((feed) => feed !== undefined);
      this.#tables = tablesOf(feeds, feeds.length === this.#sources.length);
    }
    this.#tellStale();
    return changed;
  }

  async #read(source: Source): Promise<boolean> {
    const { kind, file } = source;
    try {
      const found = await stat(file);
      requireFile(file, found);
      const { mtimeMs, size, ino } = found;
      const seen = `${mtimeMs}.${size}.${ino}`;
      if (seen === source.seen) return false;
      if (size > MAX_FEED_BYTES) throw new Error(`is larger than ${MAX_FEED_BYTES} bytes`);
      const feed = parseFeed(kind, await readFile(file), this.#clock.now());
      source.feed = feed;
      source.seen = seen;
      source.problem = undefined;
      this.#emit('threat.loaded', { file, entries: feed.entries.size, publishedAt: feed.publishedAt });
      return true;
    } catch (thrown) {
      const detail = `${file}: ${describe(thrown)}`;
      if (detail !== source.problem) this.#emit('threat.problem', { detail });
      source.problem = detail;
      return false;
    }
  }

  /** Once, each time it happens. */
  #tellStale(): void {
    const age = this.#tables.publishedAt === undefined ? 0 : (this.ageMs ?? 0); // one that is missing was told
    const stale = age > this.#config.maxAgeMs;
    if (stale && !this.#stale)
      this.#emit('threat.problem', { detail: `the oldest feed is ${Math.floor(age / 3_600_000)} hours old` });
    this.#stale = stale;
  }
}
