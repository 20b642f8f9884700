import { Denied, describe, Unavailable } from '../core/errors.ts';
import { NodeDevice, type EndpointDevice } from '../device/attested-device.ts';
import type { DeviceDemand } from '../device/demand.ts';
import { PolicyDenied } from '../trust/grant.ts';
import { decideAgain, type Question } from './decide.ts';
import { challenged as deviceChallenged, type PresentedDevice } from './devices.ts';
import type { Dossier } from './dossier.ts';
import type { Duties } from './duties.ts';
import type { Gateway } from './gateway.ts';
import type { Entry, Running } from './running-grants.ts';
import { challenged, type PresentedUser } from './users.ts';

/** What one exchange was granted on and would not have been granted without. */
export interface Lease {
  /** Undefined where systems talk without a user. */
  readonly user: PresentedUser | undefined;
  readonly endpoint: PresentedDevice | undefined;
  /** Host of the peer gateway. */
  readonly node: NodeDevice | undefined;
  /** What the agreement demands of machines. */
  readonly demand: 'none' | DeviceDemand;
  /** Gateway of the provider, where that is another: it has the client's machine in our word. */
  readonly at: string | undefined;
  readonly question: Question;
}

/** Why an exchange has to end. */
type Cause = Denied | Unavailable;

type Context = Pick<Gateway, 'users' | 'devices' | 'grants' | 'policy' | 'observer' | 'name' | 'clock'>;
type Told = Pick<Dossier, 'begun' | 'startedAt' | 'visit' | 'withdrawal' | 'decidedAgain' | 'renewed'>;

/** How soon to look again whether the first decision is on record: one record tells one decision. */
const SOON_MS = 50;

/**
 * Ends one exchange when something ends that it was granted for: the user's session, the state of a machine, the time it
 * may last, or the policy's consent, which is asked for again as often as the policy said, and whenever something
 * changes that it rests on (SP 800-207 §3.3: continuous evaluation).
 */
export class GrantWatch implements Running {
  readonly #gateway: Context;
  readonly #dossier: Told;
  readonly #abort: (cause: Error) => void;
  readonly #releases: (() => void)[] = [];
  #lease: Lease | undefined;
  #duties: Duties | undefined;
  #endpoint: EndpointDevice | undefined;
  #node: NodeDevice | undefined;
  #revoked: Cause | undefined;
  #over = false;
  #entry: Entry | undefined;
  dueAt = Infinity;

  /** @param abort breaks off what runs; where nothing runs yet, {@link revoked} is looked at before it begins */
  constructor(gateway: Context, dossier: Told, abort: (cause: Error) => void) {
    this.#gateway = gateway;
    this.#dossier = dossier;
    this.#abort = abort;
  }

  /** Why the exchange has to end, once that is so. */
  get revoked(): Cause | undefined {
    return this.#revoked;
  }

  /**
   * What the grant rests on is looked at once more: it may have ended while others were asked, before anybody watched.
   * @throws Denied `assertion.revoked`, `device.*`
   */
  begin(lease: Lease, duties: Duties): void {
    const { users, devices, grants } = this.#gateway;
    const { user, endpoint, node, demand, at } = lease;
    requireStanding(lease, this.#gateway);
    this.#lease = lease;
    this.#duties = duties;
    this.#endpoint = endpoint?.machine;
    this.#node = node;
    const end = (cause: Denied): void => this.#end(cause);
    if (user !== undefined) this.#releases.push(users.running.register(user.assertion, end));
    const demanded = demand === 'none' ? {} : demand;
    const { running } = devices;
    const renewed = (newer: EndpointDevice | NodeDevice): void => this.#renewed(newer);
    if (endpoint !== undefined)
      this.#releases.push(running.register(endpoint.machine, demanded.endpoint, end, { at, renewed }));
    if (node !== undefined) this.#releases.push(running.register(node, demanded.node, end, { renewed }));
    this.dueAt = this.#nextLook(this.#dossier.startedAt);
    this.#entry = grants.add(this);
    // It was decided before others were asked for a while: perhaps by a policy that is none any more.
    if (lease.question.asOf !== grants.changes) grants.hasten(this.#entry);
  }

  /** The exchange is over. */
  end(): void {
    this.#over = true;
    if (this.#entry !== undefined) this.#gateway.grants.delete(this.#entry);
    for (const release of this.#releases) release();
  }

  look(): void {
    const now = this.#gateway.clock.monotonic();
    if (this.#lease === undefined || this.#duties === undefined || this.#revoked !== undefined) return;
    const { max_seconds } = this.#duties.inForce;
    if (max_seconds !== undefined && now - this.#dossier.startedAt >= max_seconds * 1000)
      this.#end(new Denied('policy.time_over', `longer than ${max_seconds} s`));
    else if (!this.#dossier.begun) this.dueAt = now + SOON_MS;
    else this.#decideAgain(this.#lease.question, this.#duties, now);
  }

  #decideAgain(question: Question, duties: Duties, monotonic: number): void {
    const { clock, observer } = this.#gateway;
    const now = clock.now();
    try {
      const signals = this.#dossier.visit?.facts(now);
      if (signals === undefined) throw new Error('decided again before it was decided');
      const moment = { now, endpoint: this.#endpoint, node: this.#node, signals };
      const { decision } = decideAgain(this.#gateway, question, moment);
      this.#dossier.decidedAgain(decision).catch((thrown: unknown) => this.#end(causeOf(thrown)));
      duties.renew(decision.obligations);
      this.dueAt = this.#nextLook(monotonic);
      observer.rechecked(true);
    } catch (thrown) {
      const cause = causeOf(thrown);
      if (cause.cause instanceof PolicyDenied) this.#dossier.withdrawal = cause.cause.decision;
      observer.rechecked(false);
      this.#end(cause);
    }
  }

  #nextLook(now: number): number {
    const { recheck_seconds = Infinity, max_seconds = Infinity } = this.#duties?.inForce ?? {};
    return Math.min(now + recheck_seconds * 1000, this.#dossier.startedAt + max_seconds * 1000);
  }

  /** A machine has a newer result, which the agreement is content with; the policy may think otherwise. */
  #renewed(machine: EndpointDevice | NodeDevice): void {
    if (machine instanceof NodeDevice) this.#node = machine;
    else this.#endpoint = machine;
    this.#dossier.renewed(machine);
    if (this.#entry !== undefined) this.#gateway.grants.hasten(this.#entry);
  }

  #end(cause: Cause): void {
    if (this.#over) return;
    this.dueAt = Infinity;
    this.#revoked ??= cause;
    this.#abort(cause);
  }
}

function requireStanding(
  { user, endpoint }: Lease,
  { users, name, clock }: Pick<Gateway, 'users' | 'name' | 'clock'>,
): void {
  try {
    if (user !== undefined) users.revocations.requireValid({ claims: user.assertion });
  } catch (thrown) {
    throw challenged(thrown, undefined);
  }
  try {
    endpoint?.machine.requireCurrent(clock.now());
  } catch (thrown) {
    throw thrown instanceof Denied ? deviceChallenged(thrown, name) : thrown;
  }
}

const causeOf = (thrown: unknown): Cause =>
  thrown instanceof Denied || thrown instanceof Unavailable
    ? thrown
    : new Unavailable('gateway.internal', describe(thrown), { cause: thrown });
