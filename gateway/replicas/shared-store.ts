import { Denied, describe, Unavailable } from '../core/errors.ts';
import { USED_AGAIN, type OnceId, type SharedOnce } from '../message/single-use.ts';
import { StoreError } from './resp.ts';
import { StoreConnection, type StoreAddress } from './store-connection.ts';

export interface SharedStoreOptions {
  readonly address: StoreAddress;
  /** Name of the gateway that all replicas are. */
  readonly gateway: string;
  /** For how long an id of a kind has to be remembered, milliseconds. */
  readonly windowMs: Readonly<Record<OnceId['kind'], number>>;
  /** Fresh random text. */
  readonly random: () => string;
  /** Milliseconds that never go back. */
  readonly monotonic: () => number;
  /** Whether this process remembers ids itself: then a store that knows nothing has forgotten. */
  readonly hasTaken: () => boolean;
  /** Undefined: all is well again. */
  readonly onTrouble: (detail: string | undefined) => void;
}

/** Pauses between attempts to reach the store. Milliseconds. */
const PAUSES_MS = [50, 200, 500, 1000] as const;
/** When the last activity of a session was, for as long as any level allows. */
const ACTIVE_S = 1800;

/**
 * What the replicas of a gateway have in common, in a store of the Valkey or Redis protocol: ids that were used, and when
 * sessions were last active. The store is believed in one direction only: what it says was used, was used. Where it does
 * not answer, evicts, or has forgotten, nothing is admitted.
 */
export class SharedStore implements SharedOnce {
  readonly #options: SharedStoreOptions;
  readonly #prefix: string;
  #connection: StoreConnection | undefined;
  #trouble: string | undefined = 'the store of the replicas is not connected yet';
  /** Random name of the store's memory: another one after it was lost. */
  #life: string | undefined;
  /** Until then what the store forgot could come again. */
  #holdUntil = 0;
  #closed = false;
  #pause: NodeJS.Timeout | undefined;
  #resume: () => void = () => undefined;
  readonly #done: Promise<void>;

  constructor(options: SharedStoreOptions) {
    this.#options = options;
    this.#prefix = prefixOf(options.gateway);
    this.#done = this.#run();
  }

  /** Why nothing can be admitted; undefined when the store is there. */
  get trouble(): string | undefined {
    if (this.#trouble !== undefined) return this.#trouble;
    const left = this.#holdUntil - this.#options.monotonic();
    if (left <= 0) return undefined;
    return `the store of the replicas has forgotten what was used; waiting ${Math.ceil(left / 1000)} s until that has expired`;
  }

  async claim(ids: readonly OnceId[]): Promise<void> {
    if (ids.length === 0) return;
    const connection = this.#usable();
    const { windowMs } = this.#options;
    const replies = await Promise.all(
      ids.map(({ kind, id }) =>
        connection.send(['SET', `${this.#prefix}${kind}:${id}`, '1', 'PX', String(windowMs[kind]), 'NX']),
      ),
    ).catch((cause: unknown) => {
      throw unavailable(describe(cause), cause);
    });
    // Looked at only now: also what was claimed together with a replayed id is used up.
    ids.forEach(({ kind, id }, i) => {
      const reply = replies[i];
      if (reply === null) throw new Denied(USED_AGAIN[kind], `${id}, at another replica`);
      if (reply !== 'OK')
        throw unavailable(reply instanceof StoreError ? reply.message : 'SET was not understood');
    });
  }

  /** @returns seconds since 1970; 0 when no replica has seen the session lately. @throws Unavailable */
  async lastActive(session: string): Promise<number> {
    try {
      const reply = await this.#usable().ask(['GET', `${this.#prefix}active:${session}`]);
      return typeof reply === 'string' && /^\d{1,12}$/.test(reply) ? Number(reply) : 0;
    } catch (cause) {
      throw cause instanceof Unavailable ? cause : unavailable(describe(cause), cause);
    }
  }

  /** Nobody waits for this; without it a user at worst signs in again. */
  saw(session: string, at: number): void {
    const key = `${this.#prefix}active:${session}`;
    this.#connection?.send(['SET', key, String(at), 'EX', String(ACTIVE_S)]).catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#pause);
    this.#resume();
    this.#connection?.destroy(new Error('the gateway stops'));
    await this.#done;
  }

  #usable(): StoreConnection {
    const { trouble } = this;
    if (trouble !== undefined || this.#connection === undefined)
      throw unavailable(trouble ?? 'not connected');
    return this.#connection;
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#closed; failures += 1) {
      try {
        const connection = await StoreConnection.open(this.#options.address);
        this.#connection = connection;
        if (this.#closed) connection.destroy(new Error('the gateway stops'));
        await this.#requireKeeping(connection);
        await this.#requireMemory(connection);
        failures = 0;
        this.#tell(undefined);
        const why = await connection.gone;
        if (!this.#closed) this.#tell(describe(why));
      } catch (cause) {
        this.#connection?.destroy(new Error('not usable'));
        if (!this.#closed) this.#tell(describe(cause));
      }
      this.#connection = undefined;
      await this.#wait(PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? 1000);
    }
  }

  /** A store that may throw keys away to make room would let a replay through. */
  async #requireKeeping(connection: StoreConnection): Promise<void> {
    const info = String(await connection.ask(['INFO', 'memory']));
    const of = (name: string): string | undefined => new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1];
    if (of('maxmemory') !== '0' && of('maxmemory_policy') !== 'noeviction')
      throw new Error('the store may evict what was used: set maxmemory-policy noeviction');
  }

  /**
   * A store that was emptied, or stands in for another, does not know what was used. Whoever notices says so in the store:
   * replicas and workers that begin meanwhile remember nothing that would tell them.
   */
  async #requireMemory(connection: StoreConnection): Promise<void> {
    const { random, monotonic, hasTaken, windowMs } = this.#options;
    const [life, hold] = [`${this.#prefix}life`, `${this.#prefix}hold`];
    const found = await connection.ask(['GET', life]);
    const forgot = this.#life === undefined ? found === null && hasTaken() : this.#life !== found;
    // The hold first: where there is a new life, it is known whether anything came before it.
    if (forgot)
      await connection.ask(['SET', hold, '1', 'PX', String(Math.max(...Object.values(windowMs))), 'NX']);
    if (found === null) await connection.ask(['SET', life, random(), 'NX']);
    const left = Number(await connection.ask(['PTTL', hold]));
    const name = await connection.ask(['GET', life]);
    if (typeof name !== 'string' || !Number.isSafeInteger(left))
      throw new Error('the store does not keep what it is told');
    this.#life = name;
    this.#holdUntil = Math.max(this.#holdUntil, monotonic() + left);
  }

  #tell(trouble: string | undefined): void {
    const text = trouble === undefined ? undefined : `store of the replicas: ${trouble}`;
    if (text === this.#trouble) return;
    this.#trouble = text;
    this.#options.onTrouble(this.trouble);
  }

  #wait(ms: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#resume = resolve;
      this.#pause = setTimeout(resolve, ms);
    });
  }
}

/** The gateway's name keeps several gateways apart in one store. */
export const prefixOf = (gateway: string): string => `troad:${gateway}:`;

const unavailable = (detail: string, cause?: unknown): Unavailable =>
  new Unavailable('gateway.replicas', detail, { cause });
