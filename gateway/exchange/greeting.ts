import { describe, MalformedBytes, Unavailable } from '../core/errors.ts';
import type { Clock, EpochMs } from '../core/clock.ts';
import type { RequestHead } from '../core/head.ts';
import type { NodeDevice } from '../device/attested-device.ts';
import { EXPORTER_BYTES, EXPORTER_LABEL } from '../device/binding.ts';
import { MAX_RESULT_SECONDS } from '../device/revocations.ts';
import { PeerGateway } from '../identity/peer.ts';
import type { LinkArrival, LinkClient, LinkConversation, LinkSession, LinkTarget } from '../link/link.ts';
import type { AgreementTerms } from '../trust/agreement.ts';
import { answerOf } from './deadline.ts';
import { PATIENCE_MS, readNote } from './note.ts';
import type { PeerNodes } from './peer-nodes.ts';

/** Gateways show each other here what was attested of their hosts: the first thing on a session, and again in time. */
export const NODE_PATH = '/.troad/node';

/** Pause before somebody is asked again who had nothing to show. */
const ASK_AGAIN_MS = 5_000;
const LOOK_MS = 1_000;

/** What this host shows on one session. */
export interface OwnResult {
  readonly token: string;
  readonly binding: string;
  /** When to show a newer one: the agent has renewed it by then. */
  readonly renewAtMs: EpochMs;
}

export interface GreetingsOptions {
  readonly clock: Clock;
  readonly nodes: PeerNodes;
  readonly directory: Parameters<typeof PeerGateway.identify>[2];
  /** Is there anybody in the registry who speaks about hosts? */
  readonly wanted: () => boolean;
  /** Asks the agent of this host; undefined when none is configured. */
  readonly agent: ((exporter: Uint8Array) => Promise<OwnResult>) | undefined;
  readonly onProblem: (detail: string) => void;
}

/** A session that we opened. */
interface Open {
  readonly on: LinkConversation;
  nextMs: EpochMs;
  busy: boolean;
  /** It has been greeted, so it may carry exchanges. */
  met: boolean;
}

/** Attestation of hosts between two gateways, both directions in one exchange, on every session of its own. */
export class Greetings {
  readonly #options: GreetingsOptions;
  /** Sessions that we opened, with the time of the next greeting. */
  readonly #open = new Map<LinkSession, Open>();
  readonly #own = new WeakMap<LinkSession, OwnResult>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: GreetingsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#timer.unref();
  }

  /** A session that we opened and that carries nothing yet. Never rejects: whether a host has to be attested is the policy's. */
  async begin(on: LinkConversation): Promise<void> {
    const entry = { on, nextMs: 0, busy: false, met: false };
    this.#open.set(on.session, entry);
    if (this.#options.wanted()) await this.#greet(entry);
    entry.met = true;
  }

  /** The session is closed. */
  end(session: LinkSession): void {
    this.#open.delete(session);
    this.#options.nodes.forget(session);
  }

  /** Sessions to that gateway which are open and may carry exchanges: it has been asked on each. */
  sessionsTo(name: string): LinkSession[] {
    const sessions: LinkSession[] = [];
    for (const [session, { on, met }] of this.#open) if (met && on.name === name) sessions.push(session);
    return sessions;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { clock, wanted } = this.#options;
    if (this.#open.size === 0 || !wanted()) return;
    const now = clock.now();
    for (const entry of this.#open.values()) {
      if (now >= entry.nextMs && !entry.busy && entry.on.hasRoom) void this.#greet(entry);
    }
  }

  async #greet(entry: Open): Promise<void> {
    const { agent, clock, nodes, directory, onProblem } = this.#options;
    const { session, name } = entry.on;
    entry.busy = true;
    entry.nextMs = clock.now() + ASK_AGAIN_MS;
    try {
      const own = await this.#ownResult(session);
      const call = entry.on.request(headFor(name), { kind: 'whole', bytes: format(own) });
      const late = (): Unavailable => new Unavailable('link.timeout', 'greeting');
      const answer = await answerOf(call, PATIENCE_MS, late);
      const text = await readNote(answer.inflow, 'greeting');
      if (answer.head.status !== 200) throw new MalformedBytes(`answered ${answer.head.status}: ${text}`);
      const theirs = parse(text);
      if (theirs === undefined) return;
      const peer = PeerGateway.identify(session.peerCertificate, 'server', directory, clock.now());
      const node = nodes.take(session, peer, theirs);
      const half = node.issuedAtMs + ((node.expiresAtMs - node.issuedAtMs) * 2) / 3;
      const ours = own?.renewAtMs ?? (agent === undefined ? half : entry.nextMs);
      entry.nextMs = Math.max(clock.now() + LOOK_MS, Math.min(half, ours));
    } catch (thrown) {
      onProblem(`greeting ${name}: ${describe(thrown)}`);
    } finally {
      entry.busy = false;
    }
  }

  /** Answers a peer's greeting with ours. The peer's name is the one its live connection proved. */
  async answer(arrival: LinkArrival): Promise<void> {
    const { clock, nodes, directory, onProblem } = this.#options;
    const { session } = arrival;
    const reply = (status: number, bytes: Buffer): void => {
      arrival.answer({ status, fields: [['content-type', 'application/json']] }, { kind: 'whole', bytes });
    };
    const peer = PeerGateway.identify(session.peerCertificate, 'client', directory, clock.now());
    try {
      const theirs = parse(await readNote(arrival.inflow, 'greeting'));
      if (theirs !== undefined) nodes.take(session, peer, theirs);
    } catch (thrown) {
      // What we think of theirs does not change what ours is; why their messages will be refused, they are told.
      onProblem(`greeting of ${peer.name}: ${describe(thrown)}`);
    }
    reply(200, format(await this.#ownResult(session)));
  }

  /** Signed once for a session and result: the TPM is slow, and a peer must not be able to keep it busy. */
  async #ownResult(session: LinkSession): Promise<OwnResult | undefined> {
    const { agent, clock, onProblem } = this.#options;
    if (agent === undefined) return undefined;
    const known = this.#own.get(session);
    if (known !== undefined && clock.now() < known.renewAtMs) return known;
    try {
      const own = await agent(session.exportKeyingMaterial(EXPORTER_LABEL, EXPORTER_BYTES));
      this.#own.set(session, own);
      return own;
    } catch (thrown) {
      onProblem(`device agent: ${describe(thrown)}`);
      return undefined;
    }
  }
}

/**
 * Host of the gateway that a request is to go to, as far as it is known: the one that whichever session is taken is as
 * good as. A gateway may run on several hosts, and not all of them be attested: then a policy is shown one only where
 * an agreement demands it, and a session without it is refused. Where one is demanded and no session is open yet, one
 * is opened: gateways greet each other before anything else on it. A promise only then.
 * @throws Unavailable `link.*`
 */
export function hostOf(
  target: LinkTarget,
  agreements: () => readonly AgreementTerms[],
  {
    devices: { nodes, greetings },
    link,
  }: {
    readonly devices: { readonly nodes: PeerNodes; readonly greetings: Greetings };
    readonly link: LinkClient;
  },
): NodeDevice | undefined | Promise<NodeDevice | undefined> {
  const sessions = greetings.sessionsTo(target.name);
  const common = nodes.common(sessions);
  if (common !== undefined) return common;
  const best = nodes.latest(target.name);
  if (best === undefined && sessions.length > 0) return undefined;
  const wanted = agreements().some(({ device }) => device !== 'none' && device.node !== undefined);
  return wanted ? (best ?? meet(target, nodes, link)) : undefined;
}

async function meet(target: LinkTarget, nodes: PeerNodes, link: LinkClient): Promise<NodeDevice | undefined> {
  const call = await link.call(target, headFor(target.name), { kind: 'whole', bytes: format(undefined) });
  const late = (): Unavailable => new Unavailable('link.timeout', 'greeting');
  await readNote((await answerOf(call, PATIENCE_MS, late)).inflow, 'greeting');
  return nodes.latest(target.name);
}

const headFor = (authority: string): RequestHead => ({
  method: 'POST',
  authority,
  path: NODE_PATH,
  query: '',
  fields: [['content-type', 'application/json']],
});

const format = (own: OwnResult | undefined): Buffer =>
  Buffer.from(JSON.stringify(own === undefined ? {} : { result: own.token, binding: own.binding }), 'latin1');

/** @returns undefined when the other side has nothing to show. @throws MalformedBytes */
function parse(text: string): { readonly token: string; readonly binding: string | undefined } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MalformedBytes('greeting: not JSON', { cause });
  }
  if (typeof value !== 'object' || value === null) throw new MalformedBytes('greeting: not an object');
  const { result, binding } = value as Partial<Record<'result' | 'binding', unknown>>; // any object may be asked
  if (result === undefined) return undefined;
  if (typeof result !== 'string' || (binding !== undefined && typeof binding !== 'string'))
    throw new MalformedBytes('greeting: not {result, binding}');
  return { token: result, binding };
}

/** When a result that the agent has just handed out is old enough to be asked for anew. */
export function renewalOf(token: string, now: EpochMs): EpochMs {
  const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
  const { iat, exp } = (claims ?? {}) as Partial<Record<'iat' | 'exp', unknown>>; // any object may be asked
  if (typeof iat !== 'number' || typeof exp !== 'number')
    throw new MalformedBytes('result without iat and exp');
  // The agent renews at half to two thirds of a life; a result that should have been renewed is asked for each second.
  const renewAt = (iat + Math.min(exp - iat, MAX_RESULT_SECONDS) * (2 / 3)) * 1000;
  return Math.max(now + LOOK_MS, renewAt);
}
