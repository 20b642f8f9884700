import type { Clock } from '../core/clock.ts';
import { describe } from '../core/errors.ts';
import type { Attestor } from '../registry/entries.ts';
import type { Registry } from '../registry/registry.ts';
import { RevocationFeed } from '../registry/revocation-feed.ts';
import { RevocationClient } from '../server/fetch-revocations.ts';
import type { Emit } from '../telemetry/events.ts';
import { type KeptDeviceLists, type KeptList, withList } from './kept-device-lists.ts';

interface Followed {
  readonly url: string;
  readonly client: RevocationClient;
  readonly feed: RevocationFeed;
  /** Monotonic. */
  heardAt: number;
  silent: boolean;
}

export interface DeviceListsOptions {
  readonly ca: Buffer | undefined;
  readonly retryMs: number;
  /** After so long without a good answer the operator hears. */
  readonly silenceMs: number;
  readonly clock: Clock;
  readonly kept: KeptDeviceLists;
  readonly registry: () => Registry;
  /** Every worker sees for itself what was signed. */
  readonly onList: (text: string) => void;
  readonly emit: Emit;
}

/**
 * What attestation services of the registry take back: the main thread asks, every worker carries it out. A service that is
 * out of reach does not stop the gateway: a revoked device gets no other result, and the ones it has end within minutes.
 */
export class DeviceLists {
  readonly #options: DeviceListsOptions;
  readonly #followed = new Map<string, Followed>();
  /** By issuer; newest first, with older ones that say more. */
  readonly #lists = new Map<string, readonly KeptList[]>();
  #problem: string | undefined;

  constructor(options: DeviceListsOptions) {
    this.#options = options;
    for (const attestor of options.registry().attestors) this.#restore(attestor);
  }

  /** The lists, for a worker that begins: older ones first, as they came. */
  get texts(): string[] {
    return [...this.#lists.values()].flatMap((lists) => lists.map(({ text }) => text).toReversed());
  }

  /** Longest time since a service was heard, milliseconds; 0 when none is followed. */
  get silenceMs(): number {
    const now = this.#options.clock.monotonic();
    return Math.max(0, ...[...this.#followed.values()].map(({ heardAt }) => now - heardAt));
  }

  /** To be called when the registry has changed. */
  async follow(): Promise<void> {
    const wanted = new Map(
      this.#options.registry().attestors.flatMap((attestor) => {
        const url = attestor.row.revocations?.url;
        return url === undefined ? [] : [[attestor.issuer, { attestor, url }] as const];
      }),
    );
    const leaving = [...this.#followed].filter(([issuer, { url }]) => wanted.get(issuer)?.url !== url);
    for (const [issuer] of leaving) this.#followed.delete(issuer);
    for (const issuer of this.#lists.keys()) if (!wanted.has(issuer)) this.#lists.delete(issuer);
    for (const { attestor, url } of wanted.values()) {
      if (this.#followed.has(attestor.issuer)) continue;
      if (!this.#lists.has(attestor.issuer)) this.#restore(attestor);
      this.#followed.set(attestor.issuer, this.#start(attestor, url));
    }
    await Promise.all(leaving.map(([, followed]) => end(followed)));
  }

  /** To be called every second. */
  look(): void {
    const { clock, silenceMs, emit } = this.#options;
    for (const [issuer, followed] of this.#followed) {
      const silence = clock.monotonic() - followed.heardAt;
      if (followed.silent || silence < silenceMs) continue;
      followed.silent = true;
      emit('device.feed_silent', { issuer, seconds: Math.round(silence / 1000) });
    }
  }

  async close(): Promise<void> {
    const all = [...this.#followed.values()];
    this.#followed.clear();
    await Promise.all(all.map(end));
  }

  #restore({ issuer, revocationKeys, row }: Attestor): void {
    if (row.revocations === undefined) return;
    const lists = this.#options.kept.read(issuer, revocationKeys, (detail) => this.#tell(detail));
    this.#lists.set(issuer, lists);
    // A registry that names a service anew: workers that are there hear now, others begin with it.
    for (const { text } of lists.toReversed()) this.#options.onList(text);
  }

  #start({ issuer }: Attestor, url: string): Followed {
    const { ca, retryMs, registry, emit, clock } = this.#options;
    const client = new RevocationClient(url, ca);
    const followed = { url, client, heardAt: clock.monotonic(), silent: false };
    const feed = RevocationFeed.start({
      after: this.#lists.get(issuer)?.[0]?.list.sequence,
      ask: (after) => client.ask(after),
      keys: () => registry().attestor(issuer)?.revocationKeys ?? [],
      take: (list, text) => {
        emit('device.revocations', { issuer, sequence: list.sequence, devices: [...list.devices].length });
        this.#take(issuer, { list, text });
      },
      heard: () => {
        followed.heardAt = clock.monotonic();
        this.#problem = undefined;
        if (followed.silent) emit('device.feed_heard', { issuer });
        followed.silent = false;
      },
      retryMs,
      failed: (detail) => this.#tell(`${issuer}: ${detail}`),
    });
    return Object.assign(followed, { feed });
  }

  /** First what counts, then what is kept: a crash between the two asks the service again. */
  #take(issuer: string, next: KeptList): void {
    const { kept, clock, onList } = this.#options;
    onList(next.text);
    const lists = withList(this.#lists.get(issuer) ?? [], next, clock.now());
    this.#lists.set(issuer, lists);
    kept.write(issuer, lists).catch((thrown: unknown) => this.#tell(`not kept: ${describe(thrown)}`));
  }

  /** Asked again every few seconds: each text once, as long as it is the same. */
  #tell(detail: string): void {
    if (detail !== this.#problem) this.#options.emit('device.problem', { detail });
    this.#problem = detail;
  }
}

async function end({ client, feed }: Followed): Promise<void> {
  const stopped = feed.stop();
  client.close();
  await stopped;
}
