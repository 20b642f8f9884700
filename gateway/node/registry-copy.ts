import { createPublicKey } from 'node:crypto';
import { openRegistry, type RegistryTrust } from '../registry/load.ts';
import type { Registry } from '../registry/registry.ts';

/**
 * The registry in one worker. The main thread watches the file and its versions; what it hands over is verified here
 * again, because only then there is a registry.
 */
export class RegistryCopy {
  readonly #trust: RegistryTrust;
  #current: Registry;
  #taking: Promise<unknown> = Promise.resolve();

  private constructor(trust: RegistryTrust, current: Registry) {
    this.#trust = trust;
    this.#current = current;
  }

  /** @param rootKeys PEM. @throws ConfigError */
  static async open(bytes: Uint8Array, rootKeys: readonly string[]): Promise<RegistryCopy> {
    const trust: RegistryTrust = { rootKeys: rootKeys.map((pem) => createPublicKey(pem)) };
    return new RegistryCopy(trust, await openRegistry(bytes, trust));
  }

  /** It may have expired: ask it with `requireFresh` before relying on it. */
  get current(): Registry {
    return this.#current;
  }

  /** Takes newer ones in the order in which they come. @returns undefined when it is the one in use. @throws ConfigError */
  take(bytes: Uint8Array): Promise<Registry | undefined> {
    const taken = this.#taking.then(async () => {
      const registry = await openRegistry(bytes, this.#trust, this.#current);
      if (registry === this.#current) return undefined;
      this.#current = registry;
      return registry;
    });
    this.#taking = taken.catch(() => undefined);
    return taken;
  }
}
