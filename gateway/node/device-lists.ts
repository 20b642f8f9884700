import type { Attestor } from '../registry/entries.ts';
import type { Registry } from '../registry/registry.ts';
import { RevocationFeed } from '../registry/revocation-feed.ts';
import { RevocationClient } from '../server/fetch-revocations.ts';
import type { Emit } from '../telemetry/events.ts';

interface Followed {
  readonly url: string;
  readonly client: RevocationClient;
  readonly feed: RevocationFeed;
  /** Newest list, as it was signed. */
  text: string | undefined;
}

export interface DeviceListsOptions {
  readonly ca: Buffer | undefined;
  readonly retryMs: number;
  readonly registry: () => Registry;
  /** Every worker sees for itself what was signed. */
  readonly onList: (text: string) => void;
  readonly emit: Emit;
}

/** What attestation services of the registry take back: the main thread asks, every worker carries it out. */
export class DeviceLists {
  readonly #options: DeviceListsOptions;
  readonly #followed = new Map<string, Followed>();

  constructor(options: DeviceListsOptions) {
    this.#options = options;
  }

  /** The newest lists, for a worker that begins. */
  get texts(): string[] {
    return [...this.#followed.values()].flatMap(({ text }) => text ?? []);
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
    for (const { attestor, url } of wanted.values()) {
      if (!this.#followed.has(attestor.issuer))
        this.#followed.set(attestor.issuer, this.#start(attestor, url));
    }
    await Promise.all(leaving.map(([, followed]) => end(followed)));
  }

  async close(): Promise<void> {
    const all = [...this.#followed.values()];
    this.#followed.clear();
    await Promise.all(all.map(end));
  }

  #start({ issuer }: Attestor, url: string): Followed {
    const { ca, retryMs, registry, onList, emit } = this.#options;
    const client = new RevocationClient(url, ca);
    const followed: Omit<Followed, 'feed'> = { url, client, text: undefined };
    const feed = RevocationFeed.start({
      ask: (after) => client.ask(after),
      keys: () => registry().attestor(issuer)?.revocationKeys ?? [],
      take: (list, text) => {
        followed.text = text;
        emit('device.revocations', { issuer, sequence: list.sequence, devices: [...list.devices].length });
        onList(text);
      },
      retryMs,
      failed: (detail) => emit('device.problem', { detail }),
    });
    return Object.assign(followed, { feed });
  }
}

async function end({ client, feed }: Followed): Promise<void> {
  const stopped = feed.stop();
  client.close();
  await stopped;
}
