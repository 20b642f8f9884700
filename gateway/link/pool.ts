import type { Clock } from '../core/clock.ts';
import { Unavailable, quoted } from '../core/errors.ts';
import type { ClientSession, SessionWatcher } from './client-session.ts';
import { broken, connectFailure } from './failures.ts';
import type { LinkCall, LinkLimits, LinkTarget } from './link.ts';
import { requireKey } from './tls.ts';

export interface PoolOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly limits: LinkLimits;
  readonly connect: (target: LinkTarget, watcher: SessionWatcher) => Promise<ClientSession>;
  readonly onEvent: (event: PoolEvent, session: ClientSession, cause?: Error) => void;
}

export type PoolEvent = 'session.opened' | 'session.closed' | 'session.broken';

/** What a call does with a session: at once, so that the room it takes is counted. */
type Start = (session: ClientSession) => LinkCall;

interface Waiter {
  readonly start: Start;
  readonly resolve: (call: LinkCall) => void;
  readonly reject: (cause: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** The sessions to one peer. Opened when calls need them, replaced when they break, never more than the limits. */
export class PeerPool {
  readonly #options: PoolOptions;
  #target: LinkTarget;
  readonly #sessions = new Set<ClientSession>();
  readonly #waiters: Waiter[] = [];
  #opening = 0;
  /** Sessions that were begun before the last {@link retireAll} are not used. */
  #generation = 0;
  #failures = 0;
  #retryAt = -Infinity;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  readonly #empty: (() => void)[] = [];

  constructor(target: LinkTarget, options: PoolOptions) {
    this.#target = target;
    this.#options = options;
  }

  get sessions(): ReadonlySet<ClientSession> {
    return this.#sessions;
  }

  get target(): LinkTarget {
    return this.#target;
  }

  /** The registry's newest entry. Sessions with a key that it no longer lists are broken off at once. */
  retarget(target: LinkTarget): void {
    const old = this.#target;
    if (old === target) return;
    this.#target = target;
    const moved = old.host !== target.host || old.port !== target.port;
    for (const session of this.#sessions) {
      try {
        requireKey(session.facts, target);
        if (moved) session.retire();
      } catch (cause) {
        session.destroy(connectFailure(cause, quoted(target.name)));
      }
    }
  }

  /**
   * Starts a call on the least busy session, as soon as there is one with room.
   * @throws Unavailable `link.*`
   */
  run(start: Start): Promise<LinkCall> {
    return new Promise((resolve, reject) => {
      // Those who wait go first.
      const session = this.#waiters.length === 0 ? this.#pick() : undefined;
      if (session !== undefined) resolve(start(session));
      else this.#wait(start, resolve, reject);
    });
  }

  #pick(): ClientSession | undefined {
    const { clock, limits } = this.#options;
    const now = clock.now();
    let best: ClientSession | undefined;
    for (const session of this.#sessions) {
      if (session.usable && now >= session.facts.expires) session.retire();
      if (session.room > 0 && (best === undefined || session.load < best.load)) best = session;
    }
    if (best !== undefined && best.load >= limits.spreadAt) this.#open(1);
    return best;
  }

  #wait(start: Start, resolve: (call: LinkCall) => void, reject: (cause: Error) => void): void {
    const { limits } = this.#options;
    const where = quoted(this.#target.name);
    if (this.#closed) throw new Unavailable('link.unreachable', `${where}: draining`);
    if (this.#waiters.length >= limits.waitingPerPeer) {
      throw new Unavailable('link.timeout', `${where}: ${this.#waiters.length} calls wait already`);
    }
    const timer = setTimeout(() => {
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      reject(new Unavailable('link.timeout', `${where}: no free session in ${limits.connectMs} ms`));
    }, limits.connectMs);
    const waiter: Waiter = { start, resolve, reject, timer };
    this.#waiters.push(waiter);
    this.#open(this.#waiters.length);
  }

  /** Opens sessions for so many calls, unless the limit is reached or a failure is too fresh. */
  #open(calls: number): void {
    const { clock } = this.#options;
    const pause = this.#retryAt - clock.monotonic();
    if (pause > 0) {
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined;
        if (this.#waiters.length > 0) this.#open(this.#waiters.length);
      }, pause);
      return;
    }
    // On h2 all calls share what opens. On HTTP/1.1 each needs a connection of its own; a first one finds out.
    const wanted = this.#speaksH1() ? calls : Math.min(calls, 1);
    while (!this.#closed && this.#opening < wanted && this.#usable() + this.#opening < this.#limit()) {
      this.#openOne();
    }
  }

  #openOne(): void {
    const { clock, limits, connect, random } = this.#options;
    const target = this.#target;
    const generation = this.#generation;
    this.#opening++;
    const held: { session: ClientSession | undefined } = { session: undefined };
    const failed = (cause: unknown): void => {
      const backoff = Math.min(limits.backoffMinMs * 2 ** this.#failures++, limits.backoffMaxMs);
      // Half fixed, half random: peers that lost the same gateway do not all come back at once.
      this.#retryAt = clock.monotonic() + backoff * (0.5 + random() / 2);
      // Who waits has waited for this attempt, unless another session serves them.
      if (this.#usable() + this.#opening === 0) this.#rejectAll(connectFailure(cause, quoted(target.name)));
      this.#settleEmpty();
    };
    connect(target, this.#watcher(held)).then(
      (session) => {
        this.#opening--;
        if (!session.usable) return failed(broken('the session ended as soon as it was open'));
        held.session = session;
        this.#failures = 0;
        this.#adopt(session, target, generation);
      },
      (cause: unknown) => {
        this.#opening--;
        failed(cause);
      },
    );
  }

  #adopt(session: ClientSession, target: LinkTarget, generation: number): void {
    this.#sessions.add(session);
    this.#options.onEvent('session.opened', session);
    // The registry may have changed while the handshake ran.
    if (this.#closed || target !== this.#target) {
      const current = this.#target;
      try {
        requireKey(session.facts, current);
        if (this.#closed || target.host !== current.host || target.port !== current.port) session.retire();
      } catch (cause) {
        session.destroy(connectFailure(cause, quoted(current.name)));
      }
    }
    if (generation !== this.#generation) session.retire();
    this.#serve();
  }

  #watcher(held: { readonly session: ClientSession | undefined }): SessionWatcher {
    return {
      onFree: () => this.#serve(),
      onUnusable: (cause) => {
        if (cause !== undefined && held.session !== undefined) {
          this.#options.onEvent('session.broken', held.session, cause);
        }
        if (this.#waiters.length > 0) this.#open(this.#waiters.length);
      },
      onClosed: () => {
        const { session } = held;
        if (session !== undefined && this.#sessions.delete(session)) {
          this.#options.onEvent('session.closed', session);
        }
        if (this.#waiters.length > 0) this.#open(this.#waiters.length);
        this.#settleEmpty();
      },
    };
  }

  /** Gives free room to those who wait, in order of arrival. */
  #serve(): void {
    while (this.#waiters.length > 0) {
      const session = this.#pick();
      if (session === undefined) {
        this.#open(this.#waiters.length);
        return;
      }
      const waiter = this.#waiters.shift();
      if (waiter === undefined) return;
      clearTimeout(waiter.timer);
      try {
        waiter.resolve(waiter.start(session));
      } catch (cause) {
        waiter.reject(cause instanceof Error ? cause : new Error(String(cause)));
      }
    }
  }

  #usable(): number {
    let usable = 0;
    for (const session of this.#sessions) if (session.usable) usable++;
    return usable;
  }

  #speaksH1(): boolean {
    for (const session of this.#sessions) if (session.facts.protocol === 'http/1.1') return true;
    return false;
  }

  #limit(): number {
    const { limits } = this.#options;
    return this.#speaksH1() ? limits.connectionsPerPeer : limits.sessionsPerPeer;
  }

  #rejectAll(cause: Error): void {
    for (const waiter of this.#waiters.splice(0)) {
      clearTimeout(waiter.timer);
      waiter.reject(cause);
    }
  }

  /** Sessions, and those that are being opened, end when what they carry has. */
  retireAll(): void {
    this.#generation++;
    for (const session of this.#sessions) session.retire();
  }

  /** No new sessions; resolves when the last one has closed. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#rejectAll(new Unavailable('link.unreachable', 'draining'));
    this.retireAll();
    if (this.#sessions.size + this.#opening > 0) {
      await new Promise<void>((resolve) => this.#empty.push(resolve));
    }
  }

  #settleEmpty(): void {
    if (this.#closed && this.#sessions.size + this.#opening === 0) {
      for (const resolve of this.#empty.splice(0)) resolve();
    }
  }
}
