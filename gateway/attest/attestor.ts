import { base64url, fromBase64url } from '../core/bytes.ts';
import { toSeconds } from '../core/clock.ts';
import { type BindingKey, formatEar } from '../device/ear.ts';
import { signToken, type TokenSigner } from '../device/token.ts';
import { parsePublic, type PublicArea } from '../tpm/public.ts';
import { type Appraisal, appraise } from './appraisal.ts';
import { type AdminAction, type Approval, decided } from './administration.ts';
import { certifyKeys, type DeviceCa } from './device-certificates.ts';
import type { DeviceRecord } from './devices.ts';
import { Enrolment, type EnrolmentOptions } from './enrolment.ts';
import { type Evidence, parseEvidence } from './evidence.ts';
import { type AppraisalPolicy, draftPolicy } from './policy.ts';
import { SignedEvidence } from './quote-check.ts';
import { Refused } from './refused.ts';
import { Shape } from './shape.ts';
import { TakenBack } from './taken-back.ts';
import { Tickets } from './tickets.ts';

/** What the service tells its operator. */
export interface AttestorEvents {
  refused(code: string, detail: string, device: string | undefined, alert: boolean): void;
  enrolled(record: DeviceRecord): void;
  appraised(record: DeviceRecord, appraisal: Appraisal): void;
  changed(record: DeviceRecord, action: string): void;
}

export interface AttestorOptions extends EnrolmentOptions {
  readonly policy: AppraisalPolicy;
  readonly signer: TokenSigner;
  readonly events: AttestorEvents;
  /** Certifies the keys of devices (attestation key, IEEE 802.1AR LDevID); undefined: nobody does. */
  readonly deviceCa: DeviceCa | undefined;
  /** No results, but a draft policy of what each device shows. */
  readonly learning: boolean;
}

interface Session {
  readonly device: string;
  /** The TLS connection that asked. */
  readonly connection: object;
}

const NONCE_MS = 60_000;
/** More than the service's connections may hold together. */
const MAX_NONCES = 20_000;
/** Unused nonces of one connection: one asks for the next gateway while the last is still judged. */
const MAX_NONCES_PER_CONNECTION = 4;

type Json = Readonly<Record<string, unknown>>;
interface Keys {
  readonly area: PublicArea;
  readonly qualifiedName: Buffer;
  readonly bindingKey: BindingKey;
}

/** Verifier and enrolment service (RFC 9334): knows devices, hands out nonces, judges evidence, signs results. */
export class Attestor {
  readonly #options: AttestorOptions;
  readonly #enrolment: Enrolment;
  readonly #nonces = new Tickets<Session>(NONCE_MS, MAX_NONCES, MAX_NONCES_PER_CONNECTION);
  /** By attestation key, as the records spell it: reading one costs more than checking a quote. */
  readonly #keys = new Map<string, Keys>();
  readonly #takenBack: TakenBack;
  readonly #drafts = new Map<string, object>();
  #policy: AppraisalPolicy;

  constructor(options: AttestorOptions) {
    // Nonces of a generator that repeats itself would let every old quote in again.
    if (options.random(32).equals(options.random(32))) throw new Error('the random generator repeats itself');
    this.#options = options;
    this.#enrolment = new Enrolment(options);
    this.#policy = options.policy;
    this.#takenBack = new TakenBack(options.clock, options.devices.all());
  }

  get policyId(): string {
    return this.#policy.id;
  }

  /** Judges by another policy from now on. Results of the old one end with their lifetime, or when gateways say so. */
  set policy(policy: AppraisalPolicy) {
    this.#policy = policy;
  }

  /** @param connection identity of the TLS connection; one enrolment at a time is open on it */
  startEnrolment(body: Json, connection: object): object {
    return this.#enrolment.start(body, connection);
  }

  /** A TLS connection has ended: what was handed out on it is of no use to anybody. */
  closed(connection: object): void {
    this.#nonces.release(connection);
    this.#enrolment.release(connection);
  }

  async finishEnrolment(body: Json): Promise<object> {
    const record = await this.#enrolment.finish(body);
    // Results of a former enrolment of the same TPM carry an older epoch.
    if (record.epoch > 1) this.#takenBack.add(record);
    this.#options.events.enrolled(record);
    const { deviceCa, clock } = this.#options;
    const certificates = await certifyKeys(record, deviceCa, clock.now());
    return { device: record.id, state: record.state, certificates };
  }

  /** @param connection identity of the TLS connection; the evidence must come on the same one */
  challenge(body: Json, connection: object): object {
    const { device } = Shape.receive(body, 'challenge', (shape) => ({
      device: shape.text('device', /^[A-Za-z0-9_-]{43}$/),
    }));
    this.#requireActive(device);
    const { clock, random } = this.#options;
    const nonce = this.#nonces.issue(connection, clock.monotonic(), random, () => ({ device, connection }));
    const { hash, pcrs } = this.#policy.selection;
    return { session: nonce, bank: hash.name, pcrs };
  }

  /**
   * Appraises evidence.
   * @returns a result, good or bad; a machine that is not as it should be learns so, and so do gateways
   * @throws Refused, MalformedBytes; nothing is issued then
   */
  async evidence(body: Json, connection: object): Promise<object> {
    const evidence = parseEvidence(body);
    const { clock, events } = this.#options;
    // Destroyed by looking at it: the same nonce again, even at the same time, finds nothing.
    const session = this.#nonces.take(evidence.session, clock.monotonic());
    if (session === undefined || session === 'expired') {
      throw new Refused('evidence.nonce', session ?? 'unknown or used');
    }
    if (session.connection !== connection) throw new Refused('evidence.connection', session.device);
    if (!this.#policy.audiences.has(evidence.audience))
      throw new Refused('evidence.audience', evidence.audience);
    const record = this.#requireActive(session.device);
    const keys = this.#keysOf(record);
    const signed = SignedEvidence.verify(evidence, keys, Buffer.from(evidence.session, 'base64url'));
    try {
      const { scheme } = keys.area;
      if (scheme === undefined) throw new Refused('enrol.ak_scheme', record.id); // checked at enrolment
      const appraisal = appraise(signed, record, this.#policy, scheme.hash, clock.now());
      const current = await this.#noteBoot(record, signed);
      events.appraised(current, appraisal);
      if (this.#options.learning) this.#learn(current, appraisal);
      const bad = Object.values(appraisal.tpm).some((value) => value > 95);
      if (bad) this.#takenBack.add(current);
      return this.#result(current, evidence, keys, appraisal);
    } catch (thrown) {
      // Signed by the device itself, for this nonce, and yet refused: what it was given before must not outlive this.
      if (thrown instanceof Refused && thrown.code !== 'evidence.learning') this.#takenBack.add(record);
      throw thrown;
    }
  }

  #requireActive(id: string): DeviceRecord {
    const record = this.#options.devices.get(id);
    if (record === undefined) throw new Refused('evidence.device_unknown', id);
    if (record.state !== 'active')
      throw new Refused('evidence.device_inactive', `${record.name}: ${record.state}`);
    return record;
  }

  #keysOf(record: DeviceRecord): Keys {
    let keys = this.#keys.get(record.ak);
    if (keys === undefined) {
      const { key } = parsePublic(stored(record.bindingKey));
      if (key.type !== 'ecc') throw new TypeError(`${record.id}: the binding key is not ECC`);
      keys = {
        area: parsePublic(stored(record.ak)),
        qualifiedName: stored(record.akQualifiedName),
        bindingKey: { x: base64url(key.x), y: base64url(key.y) },
      };
      this.#keys.set(record.ak, keys);
    }
    return keys;
  }

  /** The next quote is measured against this one. Waits for the disk when a reboot was seen: that is what clones show. */
  async #noteBoot(
    record: DeviceRecord,
    { clockInfo, firmwareVersion }: SignedEvidence,
  ): Promise<DeviceRecord> {
    const { devices, clock } = this.#options;
    const { resetCount, restartCount, safe } = clockInfo;
    const sameBoot = record.boot?.resetCount === resetCount && record.boot.restartCount === restartCount;
    const next: DeviceRecord = {
      ...record,
      boot: {
        clock: String(clockInfo.clock),
        resetCount,
        restartCount,
        // The first one stays the reference until the device is enrolled again.
        firmware: record.boot?.firmware ?? firmwareVersion.toString(16).padStart(16, '0'),
      },
      unsafeSince: safe ? undefined : sameBoot ? (record.unsafeSince ?? clock.now()) : clock.now(),
    };
    await devices.put(next, !sameBoot);
    return next;
  }

  #learn(record: DeviceRecord, { pcrs }: Appraisal): never {
    const { selection, audiences } = this.#policy;
    this.#drafts.set(record.id, draftPolicy(record.name, [...audiences], selection, pcrs));
    throw new Refused('evidence.learning', `${record.name}: a draft policy was made`);
  }

  #result(record: DeviceRecord, evidence: Evidence, keys: Keys, appraisal: Appraisal): object {
    const { random, signer } = this.#options;
    const sequence = this.#takenBack.number(record.id);
    const issuedAt = toSeconds(sequence);
    const { boot } = record;
    if (boot === undefined) throw new TypeError('no boot was noted'); // noteBoot has just done so
    const ear = formatEar({
      issuer: signer.issuer,
      audience: evidence.audience,
      device: record.id,
      issuedAt,
      sequence,
      expiresAt: issuedAt + this.#policy.resultSeconds,
      id: base64url(random(16)),
      nonce: evidence.session,
      certificate: base64url(evidence.certificate),
      bindingKey: keys.bindingKey,
      class: record.class,
      gateway: record.gateway,
      epoch: record.epoch,
      resetCount: boot.resetCount,
      restartCount: boot.restartCount,
      policyId: this.#policy.id,
      tpm: appraisal.tpm,
      health: appraisal.health,
      cves: appraisal.cves,
      softwareTpm: record.software,
    });
    return { result: signToken('ear+jwt', ear, signer), seconds: this.#policy.resultSeconds };
  }

  get sequence(): number {
    return this.#takenBack.sequence;
  }

  /** The signed list of what was taken back lately. */
  revocations(): string {
    return this.#takenBack.signed(this.#options.signer);
  }

  /** @returns call to stop waiting */
  onChange(wake: () => void): () => void {
    return this.#takenBack.onChange(wake);
  }

  list(): readonly DeviceRecord[] {
    return this.#options.devices.all();
  }

  /** @throws Refused `admin.unknown_device` when there is none, or no draft of it */
  draft(idOrName: string): object {
    const draft = this.#drafts.get(this.#options.devices.require(idOrName).id);
    if (draft === undefined)
      throw new Refused('admin.unknown_device', `${idOrName}: no evidence while learning`);
    return draft;
  }

  /** @throws Refused `admin.*` */
  async administer(
    idOrName: string,
    action: AdminAction,
    as: Approval = { class: 'endpoint', gateway: undefined },
  ): Promise<DeviceRecord> {
    const { devices, events } = this.#options;
    const record = devices.require(idOrName);
    const next = decided(record, action, as);
    await devices.put(next);
    if (next.epoch > record.epoch) this.#takenBack.add(next);
    events.changed(next, action);
    return next;
  }
}

function stored(text: string): Buffer {
  const bytes = fromBase64url(text);
  if (bytes === undefined) throw new TypeError('a stored key is not base64url');
  return bytes;
}
