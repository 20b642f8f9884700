import { isDeepStrictEqual } from 'node:util';
import type { GatewayConfig } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import { ConfigError } from '../core/errors.ts';
import { inWordsWithPlace } from '../core/file-errors.ts';
import type { Registry } from '../registry/registry.ts';
import type { Emit } from '../telemetry/events.ts';
import {
  checkHttps,
  checkLink,
  checkMessageKey,
  type CheckContext,
  type CredentialFacts,
} from './credentials-check.ts';
import { readCredentials, readHttps, readLink, readMessageKey, type Credentials } from './credentials.ts';

export interface CredentialsKeeperOptions {
  readonly config: GatewayConfig;
  readonly clock: Clock;
  readonly emit: Emit;
  /** The newest there is. */
  readonly registry: () => Promise<Registry>;
  /** Resolves when every worker uses them. */
  readonly onCredentials: (next: Credentials) => Promise<void>;
}

interface Change {
  readonly setting: string;
  readonly next: Partial<Credentials>;
  readonly facts: CredentialFacts;
}

const SETTINGS = { link: 'link', https: 'listen.https', message: 'keys.message' } as const;

/** The credentials in use, and how they are exchanged for those that lie in the same files now. */
export class CredentialsKeeper {
  readonly #options: CredentialsKeeperOptions;
  #current: Credentials;
  #running: Promise<void> = Promise.resolve();

  /** @throws ConfigError */
  constructor(options: CredentialsKeeperOptions) {
    this.#options = options;
    this.#current = readCredentials(options.config);
  }

  get current(): Credentials {
    return this.#current;
  }

  /**
   * Reads the files again. Each of link, HTTPS and message key is taken when all of it is good, and else stays as it is:
   * none of them waits for another. One call after the other. Never rejects.
   */
  reload(): Promise<void> {
    return (this.#running = this.#running.then(() => this.#reload()));
  }

  async #reload(): Promise<void> {
    const { config, clock, emit, registry, onCredentials } = this.#options;
    const problems: string[] = [];
    const changes: Change[] = [];
    try {
      const context = { config, registry: await registry(), now: clock.now() };
      for (const look of [
        () => this.#look('link', readLink, checkLink, context),
        () => this.#look('https', readHttps, checkHttps, context),
        () => this.#look('message', readMessageKey, checkMessageKey, context),
      ]) {
        try {
          const change = await look();
          if (change !== undefined) changes.push(change);
        } catch (thrown) {
          problems.push(...(thrown instanceof ConfigError ? thrown.problems : [inWordsWithPlace(thrown)]));
        }
      }
      if (changes.length > 0) {
        // First here: a worker that begins now begins with them.
        this.#current = Object.assign({}, this.#current, ...changes.map(({ next }) => next)) as Credentials;
        await onCredentials(this.#current);
      }
    } catch (thrown) {
      problems.push(inWordsWithPlace(thrown));
    }
    for (const detail of problems) emit('credentials.problem', { detail });
    for (const { setting, facts } of changes) emit('credentials.loaded', { setting, ...facts });
    if (changes.length + problems.length === 0) emit('credentials.unchanged', {});
  }

  /** @returns undefined when it is what is in use. @throws ConfigError */
  async #look<Part extends keyof Credentials>(
    part: Part,
    read: (config: GatewayConfig) => Credentials[Part],
    check: (
      next: NonNullable<Credentials[Part]>,
      context: CheckContext,
    ) => CredentialFacts | Promise<CredentialFacts>,
    context: CheckContext,
  ): Promise<Change | undefined> {
    const next = read(context.config);
    if (next === undefined || isDeepStrictEqual(next, this.#current[part])) return undefined;
    const facts = await check(next, context);
    return { setting: SETTINGS[part], next: { [part]: next }, facts };
  }
}
