import tls from 'node:tls';
import { describe, quoted } from '../core/errors.ts';
import type { RequestHead } from '../core/head.ts';
import type { ClientSession } from './client-session.ts';
import { connect } from './connect.ts';
import { broken, connectFailure } from './failures.ts';
import {
  DEFAULT_LIMITS,
  PROTOCOLS,
  type LinkBody,
  type LinkCall,
  type LinkClient,
  type LinkClientOptions,
  type LinkCredentials,
  type LinkLimits,
  type LinkConversation,
  type LinkSession,
  type LinkTarget,
} from './link.ts';
import { PeerPool, type PoolOptions } from './pool.ts';
import { secureContextOptions } from './tls.ts';

/** @throws Error when the credentials are unusable */
export function createLinkClient(options: LinkClientOptions): LinkClient {
  return new PooledClient(options);
}

class PooledClient implements LinkClient {
  readonly #options: LinkClientOptions;
  readonly #limits: LinkLimits;
  readonly #pools = new Map<string, PeerPool>();
  readonly #poolOptions: PoolOptions;
  #context: tls.SecureContext;
  #nextId = 0;

  constructor(options: LinkClientOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#context = this.#contextOf(options.credentials);
    this.#poolOptions = {
      clock: options.clock,
      random: options.random,
      limits: this.#limits,
      connect: async (target, watcher) => {
        const { protocols = PROTOCOLS, requireHybrid = false, verifyPeer } = options;
        const nextId = (): string => `out-${++this.#nextId}`;
        const context = this.#context;
        try {
          const session = await connect(
            target,
            {
              clock: options.clock,
              context,
              limits: this.#limits,
              protocols,
              requireHybrid,
              verifyPeer,
              nextId,
            },
            watcher,
          );
          await options.greet?.(conversationOn(session, target.name));
          return session;
        } catch (cause) {
          const failure = connectFailure(cause, quoted(target.name));
          options.onEvent?.({
            kind: 'peer.refused',
            remote: `${target.host}:${target.port}`,
            cause: failure,
          });
          throw failure;
        }
      },
      onEvent: (kind, session, cause) => {
        if (kind !== 'session.broken') options.onEvent?.({ kind, session: session.facts });
        else options.onEvent?.({ kind, session: session.facts, cause: cause ?? broken('session') });
      },
    };
  }

  call(
    target: LinkTarget,
    head: RequestHead,
    body: LinkBody,
    admit?: (session: LinkSession) => void,
  ): Promise<LinkCall> {
    // A session is good for one name: an authority of another gateway on it would be a request to the wrong place.
    if (head.authority !== target.name) {
      return Promise.reject(new Error(`authority ${quoted(head.authority)} is not the target's name`));
    }
    let pool = this.#pools.get(target.name);
    if (pool === undefined) {
      pool = new PeerPool(target, this.#poolOptions);
      this.#pools.set(target.name, pool);
    } else {
      pool.retarget(target);
    }
    return pool.run((session) => {
      admit?.(session.facts);
      return session.request(head, body);
    });
  }

  recheck(): void {
    for (const pool of this.#pools.values()) {
      for (const session of pool.sessions) {
        try {
          this.#options.verifyPeer(session.facts.peerCertificate, pool.target);
        } catch (cause) {
          session.destroy(connectFailure(cause, `recheck: ${describe(pool.target.name)}`));
        }
      }
    }
  }

  renew(credentials: LinkCredentials): void {
    this.#context = this.#contextOf(credentials); // throws before anything changed
    for (const pool of this.#pools.values()) pool.retireAll();
  }

  async drain(): Promise<void> {
    const deadline = setTimeout(() => {
      for (const pool of this.#pools.values()) {
        for (const session of pool.sessions) session.destroy(broken('drained'));
      }
    }, this.#limits.drainMs);
    await Promise.all(Array.from(this.#pools.values(), (pool) => pool.close()));
    clearTimeout(deadline);
  }

  #contextOf(credentials: LinkCredentials): tls.SecureContext {
    return tls.createSecureContext(secureContextOptions(credentials, this.#options.requireHybrid ?? false));
  }
}

const conversationOn = (session: ClientSession, name: string): LinkConversation => ({
  session: session.facts,
  name,
  get hasRoom() {
    return session.room > 0;
  },
  request: (head, body) => session.request(head, body),
});
