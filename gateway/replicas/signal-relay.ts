import { base64url, sha256 } from '../core/bytes.ts';
import type { EpochMs } from '../core/clock.ts';
import { describe } from '../core/errors.ts';
import { SecurityEventRefused } from '../identity/security-event.ts';
import type { Reply } from './resp.ts';
import { prefixOf } from './shared-store.ts';
import { StoreConnection, type StoreAddress } from './store-connection.ts';

export interface SignalRelayOptions {
  readonly address: StoreAddress;
  readonly gateway: string;
  readonly now: () => EpochMs;
  /** Verifies a security event and carries it out; one that was taken before does no harm. */
  readonly take: (set: string) => Promise<void>;
  readonly onProblem: (detail: string) => void;
}

/** As long as a session lasts at most, and as an event may be on its way. */
const KEPT_MS = 12 * 3600_000;
const BATCH = 100;
/** The store holds a question back for so long when there is nothing to tell. */
const BLOCK_MS = 5_000;
const PAUSE_MS = 500;
/** Events of many days; 600 KB at most. */
const MAX_PUBLISHED = 10_000;
/** The next event cannot be taken yet. */
const STUCK = -1;

/**
 * Security events that one replica was told reach the others. What travels is the event itself, signed by the identity
 * provider: each replica verifies it anew, so whoever can write the store cannot end anybody's session.
 */
export class SignalRelay {
  readonly #options: SignalRelayOptions;
  readonly #key: string;
  readonly #stopping = Promise.withResolvers<void>();
  #done: Promise<void> = Promise.resolve();
  #reading: StoreConnection | undefined;
  #writing: Promise<StoreConnection> | undefined;
  /** Digests of what the others were told: whoever has seen an event can deliver it again, as often as he likes. */
  readonly #published = new Set<string>();
  #last: string;
  /** What was wrong the last time, so that it is told once. */
  #problem: string | undefined;
  #closed = false;

  private constructor(options: SignalRelayOptions, reading: StoreConnection) {
    this.#options = options;
    this.#reading = reading;
    this.#key = `${prefixOf(options.gateway)}signals`;
    this.#last = `${options.now() - KEPT_MS}-0`;
  }

  /**
   * Resolves when everything was taken that the others were told before; what cannot be taken yet is tried again by
   * {@link follow}.
   * @throws Error when the store cannot be reached: what has ended would not be known
   */
  static async open(options: SignalRelayOptions): Promise<SignalRelay> {
    const relay = new SignalRelay(options, await StoreConnection.open(options.address, BLOCK_MS));
    try {
      while ((await relay.#readSome([])) > 0);
    } catch (cause) {
      await relay.close();
      throw cause;
    }
    return relay;
  }

  /** From now on what the others are told is taken as it comes. */
  follow(): void {
    this.#done = this.#run();
  }

  /** @throws Error the others were not told: the transmitter has to say it again */
  async publish(set: string): Promise<void> {
    const digest = base64url(sha256(set));
    if (this.#published.has(digest)) return;
    this.#writing ??= this.#openWriting();
    const connection = await this.#writing;
    await connection.ask([
      'XADD',
      this.#key,
      'MINID',
      '=',
      String(this.#options.now() - KEPT_MS),
      '*',
      'set',
      set,
    ]);
    this.#published.add(digest);
    if (this.#published.size <= MAX_PUBLISHED) return;
    const [oldest] = this.#published;
    if (oldest !== undefined) this.#published.delete(oldest);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopping.resolve();
    this.#reading?.destroy(new Error('the gateway stops'));
    await this.#writing?.then(
      (connection) => connection.destroy(new Error('the gateway stops')),
      () => undefined,
    );
    await this.#done;
  }

  #openWriting(): Promise<StoreConnection> {
    const opening = StoreConnection.open(this.#options.address);
    const forget = (): void => {
      this.#writing = undefined;
    };
    opening.then(({ gone }) => gone.then(forget), forget);
    return opening;
  }

  async #run(): Promise<void> {
    let told = false;
    while (!this.#closed) {
      try {
        this.#reading ??= await StoreConnection.open(this.#options.address, BLOCK_MS);
        const taken = await this.#readSome(['BLOCK', String(BLOCK_MS)]);
        told = false;
        if (taken === STUCK) await this.#pause();
      } catch (cause) {
        this.#reading?.destroy(new Error('not usable'));
        this.#reading = undefined;
        if (this.#closed) return;
        if (!told) this.#options.onProblem(`store of the replicas: ${describe(cause)}`);
        told = true;
        await this.#pause();
      }
    }
    this.#reading?.destroy(new Error('the gateway stops'));
  }

  async #pause(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      this.#stopping.promise,
      new Promise<void>((resolve) => (timer = setTimeout(resolve, PAUSE_MS))),
    ]);
    clearTimeout(timer);
  }

  /** @returns how many there were, or {@link STUCK} */
  async #readSome(block: readonly string[]): Promise<number> {
    const words = ['XREAD', 'COUNT', String(BATCH), ...block, 'STREAMS', this.#key, this.#last];
    const entries = entriesOf((await this.#reading?.ask(words)) ?? null);
    for (const [id, set] of entries) {
      if (!(await this.#take(set))) return STUCK;
      this.#last = id;
    }
    return entries.length;
  }

  /** @returns false: not now, for a reason that is ours. What will never be taken must not hold up the others. */
  async #take(set: string): Promise<boolean> {
    try {
      await this.#options.take(set);
      this.#problem = undefined;
      return true;
    } catch (cause) {
      const detail = describe(cause);
      if (detail !== this.#problem) this.#options.onProblem(detail);
      this.#problem = detail;
      return cause instanceof SecurityEventRefused;
    }
  }
}

/** `[[key, [[id, ['set', text]], …]]]`, or null when nothing came. */
function entriesOf(reply: Reply): (readonly [id: string, set: string])[] {
  const [stream] = list(reply);
  return list(list(stream)[1]).flatMap((entry) => {
    const [id, fields] = list(entry);
    const set = list(fields)[1];
    return typeof id === 'string' && typeof set === 'string' ? [[id, set] as const] : [];
  });
}

const list = (reply: Reply | undefined): readonly (Reply | undefined)[] => (isList(reply) ? reply : []);
const isList = (reply: Reply | undefined): reply is readonly Reply[] => Array.isArray(reply);
