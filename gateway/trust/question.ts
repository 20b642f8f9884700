// The document that a policy is asked with (policies/schemas/input.json), around the id of the exchange.
import { Buffer } from 'node:buffer';
import type { EpochMs } from '../core/clock.ts';
import { memberOf, type SubsystemId } from '../core/ids.ts';
import type { EndpointDevice, NodeDevice } from '../device/attested-device.ts';
import type { ClientSystem } from '../identity/client-system.ts';
import type { PeerGateway } from '../identity/peer.ts';
import type { UserAssertion } from '../identity/user-assertion.ts';
import type { Route } from '../message/target.ts';
import { termsText, type AgreementTerms } from './agreement.ts';
import { attested, known } from './machine-facts.ts';
import type { SignalFacts } from './signals.ts';
import type { ThreatIntel } from './threat.ts';

/** All that an input says but for the exchange's id. Nothing of it changes once it is here. */
export interface Asked {
  readonly role: 'consumer' | 'provider';
  readonly agreement: AgreementTerms | undefined;
  /** As a policy sees it ({@link momentOf}). */
  readonly moment: EpochMs;
  readonly client: ClientSystem | undefined;
  readonly peer: PeerGateway | undefined;
  readonly user: UserAssertion | undefined;
  readonly endpoint: EndpointDevice | undefined;
  readonly node: NodeDevice | undefined;
  readonly request: {
    readonly method: string;
    readonly route: Route;
    /** What X-Road-Client claims; the policy compares it with the proof. */
    readonly client: SubsystemId;
    /** Bytes announced; undefined when the end is marked in the stream. */
    readonly length: number | undefined;
  };
  readonly signals: SignalFacts;
  readonly threat: ThreatIntel;
  /** The very time, of which {@link ThreatIntel.ageHours} is all that matters beside the moment. */
  readonly now: EpochMs;
  readonly feedsAge: number | null;
}

/** Questions kept at most, of some kilobytes each: those of a second or so. */
const MAX_KEPT = 512;

/**
 * What a policy is asked, but for the id: one object for all exchanges that differ in nothing else, so that it is written
 * once, and answered once (`answers.ts`). Most exchanges of a second find theirs.
 */
export class Question {
  declare protected readonly nominal: never;
  /** RFC 8785, up to the id and from there. */
  readonly #before: string;
  readonly #behind: string;
  readonly #asked: Asked;
  #bytes: readonly [before: Buffer, behind: Buffer] | undefined;

  private constructor(asked: Asked) {
    const { agreement, moment, client, peer, user, endpoint, node, request, role, signals, threat } = asked;
    for (const time of [agreement?.fromMs, agreement?.untilMs]) if (time !== undefined) requireInteger(time);
    const system = client && { method: client.method, subsystem: client.subsystem };
    const gateway = peer && { gateway: peer.name, member: peer.member };
    const weak = known(threat, [endpoint, node], asked.now);
    // Wherever one of these is written the members stand in alphabetical order, which is RFC 8785 without sorting (a test
    // holds it to that).
    this.#before = `{"agreement":${agreement === undefined ? 'null' : termsText(agreement)},"assertion":${text(shown(user))},"client_system":${text(system)},"decision_id":"`;
    this.#behind = `","device":${text(attested(endpoint, threat))},"node":${text(attested(node, threat))},"now_ms":${moment},"peer":${text(gateway)},"request":${requestText(request)},"role":"${role}","signals":${text(signals)},"threat":${text(weak)}}`;
    this.#asked = asked;
  }

  /** The one for all that is the same. */
  static of(asked: Asked): Question {
    let like = kept.get(asked.agreement);
    if (like !== undefined) {
      // The newest are asked most.
      for (let i = like.length - 1; i >= 0; i -= 1) {
        const question = like[i];
        if (question !== undefined && isLike(question.#asked, asked)) return question;
      }
    }
    const question = new Question(asked);
    if (keptCount >= MAX_KEPT) {
      // Nearly all of them are of past seconds: nobody asks them again, and the present ones are soon made anew.
      kept.clear();
      keptCount = 0;
      like = undefined;
    }
    if (like === undefined) kept.set(asked.agreement, [question]);
    else like.push(question);
    keptCount += 1;
    return question;
  }

  /** The document, JSON in RFC 8785 form. @param id of the exchange: base64url */
  text(id: string): string {
    return this.#before + id + this.#behind;
  }

  /** The same in UTF-8. */
  bytes(id: string): Buffer {
    const [before, behind] = (this.#bytes ??= [Buffer.from(this.#before), Buffer.from(this.#behind)]);
    const bytes = Buffer.allocUnsafe(before.length + id.length + behind.length);
    bytes.set(before);
    bytes.write(id, before.length, 'latin1');
    bytes.set(behind, before.length + id.length);
    return bytes;
  }
}

const kept = new Map<AgreementTerms | undefined, Question[]>();
let keptCount = 0;

/** Of one agreement. Numbers before texts: what differs is found soon. Registry rows, machines and feeds are never changed, but replaced. */
const isLike = (a: Asked, b: Asked): boolean =>
  a.moment === b.moment &&
  a.role === b.role &&
  a.endpoint === b.endpoint &&
  a.node === b.node &&
  a.threat === b.threat &&
  a.feedsAge === b.feedsAge &&
  a.request.length === b.request.length &&
  areSameSignals(a.signals, b.signals) &&
  a.request.method === b.request.method &&
  a.request.route.rest === b.request.route.rest &&
  a.request.route.service === b.request.route.service &&
  a.request.client === b.request.client &&
  a.client?.subsystem === b.client?.subsystem &&
  a.client?.method === b.client?.method &&
  a.peer?.name === b.peer?.name &&
  a.peer?.member === b.peer?.member &&
  isSameUser(a.user, b.user);

const areSameSignals = (a: SignalFacts, b: SignalFacts): boolean =>
  a.rate_percent === b.rate_percent &&
  a.volume_percent === b.volume_percent &&
  a.refusals === b.refusals &&
  a.address === b.address &&
  a.device === b.device &&
  a.hour === b.hour;

/** In what a policy is told ({@link shown}). */
const isSameUser = (a: UserAssertion | undefined, b: UserAssertion | undefined): boolean =>
  a === b ||
  (a !== undefined &&
    b !== undefined &&
    a.authTime === b.authTime &&
    a.boundBy === b.boundBy &&
    a.level.ial === b.level.ial &&
    a.level.aal === b.level.aal &&
    a.level.fal === b.level.fal &&
    a.acr === b.acr &&
    a.amr === b.amr &&
    a.issuer === b.issuer &&
    a.member === b.member);

/** @throws Error: JSON could not carry it */
function requireInteger(time: EpochMs): void {
  if (!Number.isSafeInteger(time)) throw new Error('policy input: a time is no integer');
}

/**
 * The time as a policy sees it: the last whole second, or the agreement's own bound if that was passed since. So the
 * exchanges of one second ask the same question, and none of them finds an agreement open that has ended.
 */
export function momentOf(now: EpochMs, agreement: AgreementTerms | undefined): EpochMs {
  requireInteger(now);
  let time = now - (now % 1000);
  if (agreement === undefined) return time;
  const { fromMs, untilMs } = agreement;
  if (fromMs <= now) time = Math.max(time, fromMs);
  if (untilMs <= now) time = Math.max(time, untilMs);
  return time;
}

const text = (facts: object | string | number | null | undefined): string =>
  facts === null || facts === undefined ? 'null' : JSON.stringify(facts);

function requestText({ client, length, method, route }: Asked['request']): string {
  return `{"client":${text(client)},"content_length":${text(length)},"method":${text(method)},"path":${text(route.rest)},"provider_member":${text(memberOf(route.service))},"service":${text(route.service)}}`;
}

/** What is known about the user's authentication; who it is does not matter here, and does not go into the log this way. */
function shown(user: UserAssertion | undefined) {
  if (user === undefined) return null;
  const { level, acr, amr, authTime, boundBy, issuer, member } = user;
  return {
    aal: level.aal,
    acr,
    amr,
    auth_time_ms: authTime * 1000,
    bound_by: boundBy,
    fal: level.fal,
    ial: level.ial,
    issuer,
    member,
  };
}
