// An attestation service in the process, a vendor of TPMs, and devices with lying TPMs to try it.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Appraisal } from '../../gateway/attest/appraisal.ts';
import { Attestor, type AttestorOptions } from '../../gateway/attest/attestor.ts';
import { Devices, type DeviceRecord } from '../../gateway/attest/devices.ts';
import { certifyData, enrolmentProof, enrolmentTranscript } from '../../gateway/attest/enrolment.ts';
import { type Evidence, qualifyingData } from '../../gateway/attest/evidence.ts';
import { claimsDocument, type HostClaims } from '../../gateway/attest/health.ts';
import { draftPolicy, parsePolicy, type ProvedPcr } from '../../gateway/attest/policy.ts';
import { base64url, sha256, utf8 } from '../../gateway/core/bytes.ts';
import type { TokenKey } from '../../gateway/device/token.ts';
import { HASH } from '../../gateway/tpm/algorithm.ts';
import { parseEventLog, replay } from '../../gateway/tpm/event-log.ts';
import { initialPcr } from '../../gateway/tpm/pcr.ts';
import { canonicalJson } from '../../gateway/trust/canonical.ts';
import { EkAuthority } from './ek-ca.ts';
import { agileLog, type BuiltEvent, eventDigest, healthyBoot } from './event-log.ts';
import { EV } from '../../gateway/tpm/event-log.ts';
import type { AttestFields, LyingTpm } from './lying-tpm.ts';

export const GATEWAY = 'gw.a11.tw.troad.example';
export const PCRS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14];
export const SELECTION = { hash: HASH.sha256, pcrs: PCRS };
export const CERTIFICATE = sha256('the TLS certificate of the device');

export const HEALTHY: HostClaims = {
  agent: 'troad 0.1.0',
  boot_id: 'c7a0f0b2',
  health: {
    os: { pending: 0, checked_hours: 3 },
    antivirus: { age_hours: 5 },
    applications: { pending: 1, checked_hours: 3 },
    configuration: { address_randomization: 'pass', disk_encryption: 'pass' },
  },
};

/** PCRs as a log tells them, unlogged ones at their start. */
export function pcrsOf(events: readonly BuiltEvent[]): ReadonlyMap<number, ProvedPcr> {
  const replayed = replay(parseEventLog(agileLog(events)), HASH.sha256);
  return new Map(
    PCRS.map((pcr) => [
      pcr,
      { digests: [], value: initialPcr(HASH.sha256, pcr), ...replayed.get(pcr), isLogged: true },
    ]),
  );
}

/** Text of a policy that expects a healthy boot. Change it with a function before it is parsed. */
export function policyBytes(change: (draft: PolicyDraft) => void = () => undefined): Buffer {
  // The shape that draftPolicy writes.
  const draft = structuredClone(
    draftPolicy('edge', [GATEWAY], SELECTION, pcrsOf(healthyBoot())),
  ) as PolicyDraft;
  change(draft);
  return utf8(JSON.stringify(draft));
}

export interface PolicyDraft {
  version: number;
  resultSeconds: number;
  firmware: string[];
  unsafeClockMinutes: number;
  pcrs: { select: number[]; bank: string; rules: Record<string, object> };
  [name: string]: unknown;
}

export class Lab {
  readonly vendor: EkAuthority;
  readonly attestor: Attestor;
  readonly devices: Devices;
  readonly keys: readonly TokenKey[];
  readonly time: { now: number; monotonic: number };
  readonly appraisals: Appraisal[] = [];
  readonly #options: AttestorOptions;

  private constructor(parts: Pick<Lab, 'vendor' | 'devices' | 'keys' | 'time'>, options: AttestorOptions) {
    this.vendor = parts.vendor;
    this.devices = parts.devices;
    this.keys = parts.keys;
    this.time = parts.time;
    this.#options = {
      ...options,
      events: {
        refused: () => undefined,
        enrolled: () => undefined,
        changed: () => undefined,
        appraised: (_, appraisal) => this.appraisals.push(appraisal),
      },
    };
    this.attestor = new Attestor(this.#options);
  }

  static async start(
    t: { teardown(run: () => unknown): void },
    changes: (vendor: EkAuthority) => Partial<AttestorOptions> = () => ({}),
  ): Promise<Lab> {
    const time = { now: Date.UTC(2026, 10, 22, 9), monotonic: 0 };
    const dir = mkdtempSync(join(tmpdir(), 'troad-lab-'));
    const vendor = await EkAuthority.create('Lying TPMs Inc', time.now);
    const devices = await Devices.open(join(dir, 'devices.journal'));
    t.teardown(async () => {
      await devices.close();
      rmSync(dir, { recursive: true, force: true });
    });
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const signer = { issuer: 'attest.tw.troad.example', kid: 'a1', privateKey };
    const options: AttestorOptions = {
      trust: {
        roots: [vendor.root],
        testRoots: [],
        softwareTpms: false,
        intermediates: [vendor.issuing],
        allowed: new Set(),
        manufacturers: new Set(),
        revoked: new Set(),
      },
      expected: [],
      devices,
      clock: { now: () => time.now, monotonic: () => time.monotonic },
      random: randomBytes,
      policy: parsePolicy(policyBytes()),
      signer,
      learning: false,
      deviceCa: undefined,
      events: {
        refused: () => undefined,
        enrolled: () => undefined,
        changed: () => undefined,
        appraised: () => undefined,
      },
      ...changes(vendor),
    };
    const keys = [{ issuer: signer.issuer, kid: 'a1', publicKey }];
    return new Lab({ vendor, devices, keys, time }, options);
  }

  /** Another process on the same journal. */
  restarted(): Attestor {
    return new Attestor(this.#options);
  }

  wait(ms: number): void {
    this.time.now += ms;
    this.time.monotonic += ms;
  }

  /** First message of an enrolment, as an honest agent writes it. */
  async startBody(tpm: LyingTpm, name: string, changes: Record<string, unknown> = {}): Promise<Json> {
    return {
      ekCertificates: [base64url(await this.vendor.certify(tpm.ek.area.publicKey))],
      ek: base64url(tpm.ek.area.raw),
      ak: base64url(tpm.ak.area.raw),
      bindingKey: base64url(tpm.binding.area.raw),
      name,
      ...changes,
    };
  }

  /** Second message. */
  finishBody(tpm: LyingTpm, begun: Json, answer: StartAnswer, changes: FinishChanges = {}): Json {
    const bytes = (name: string): Buffer => Buffer.from(String(begun[name]), 'base64url');
    const transcript = enrolmentTranscript({
      // A list of texts: startBody made it.
      ekCertificate: Buffer.from((begun['ekCertificates'] as string[])[0] ?? '', 'base64url'),
      ek: bytes('ek'),
      ak: bytes('ak'),
      bindingKey: bytes('bindingKey'),
      name: String(begun['name']),
      enrolment: answer.enrolment,
    });
    const blob = Buffer.from(answer.credential.blob, 'base64url');
    const wrapped = Buffer.from(answer.credential.secret, 'base64url');
    const secret = changes.secret ?? tpm.activate({ blob, secret: wrapped });
    const attest =
      changes.attest?.(certifyData(transcript)) ??
      tpm.certifyBytes(tpm.binding.area, certifyData(transcript));
    return {
      enrolment: answer.enrolment,
      proof: base64url(changes.proof ?? enrolmentProof(secret, transcript)),
      attest: base64url(attest),
      signature: base64url(changes.sign?.(attest) ?? tpm.sign(attest)),
    };
  }

  /** Takes a device in and approves it. */
  async enrol(tpm: LyingTpm, name = 'pc-1'): Promise<DeviceRecord> {
    const begun = await this.startBody(tpm, name);
    // What startEnrolment answers.
    const answer = this.attestor.startEnrolment(begun, {}) as StartAnswer;
    await this.attestor.finishEnrolment(this.finishBody(tpm, begun, answer));
    const record = this.devices.require(name);
    return record.state === 'active' ? record : this.attestor.administer(name, 'approve');
  }

  /** A nonce, and honest evidence for it with whatever changed. */
  present(tpm: LyingTpm, device: string, changes: EvidenceChanges = {}): Json {
    const connection = changes.connection ?? this;
    // What challenge answers.
    const { session } = this.attestor.challenge({ device }, connection) as { session: string };
    return this.evidence(tpm, session, changes);
  }

  evidence(tpm: LyingTpm, session: string, changes: EvidenceChanges = {}): Json {
    const claims = changes.claimsText ?? canonicalJson(claimsDocument(changes.claims ?? HEALTHY));
    const eventLog = changes.eventLog ?? agileLog(changes.events ?? healthyBoot());
    const bound = {
      audience: GATEWAY,
      certificate: CERTIFICATE,
      claims: utf8(claims),
      eventLog,
      ...changes.bound,
    };
    const extraData = changes.extraData ?? qualifyingData(Buffer.from(session, 'base64url'), bound);
    const attest =
      changes.attest?.(extraData) ??
      tpm.quoteBytes(extraData, changes.selections ?? [SELECTION], changes.fields ?? {});
    return {
      session,
      audience: GATEWAY,
      certificate: base64url(CERTIFICATE),
      attest: base64url(attest),
      signature: base64url(changes.sign?.(attest) ?? tpm.sign(attest)),
      eventLog: base64url(changes.gzip ?? gzipSync(eventLog)),
      claims: base64url(utf8(claims)),
      pcrValues: changes.pcrValues ?? [],
      ...changes.body,
    };
  }

  /** The whole of it. @returns the token */
  async attest(tpm: LyingTpm, device: string, changes: EvidenceChanges = {}): Promise<string> {
    const body = this.present(tpm, device, changes);
    // What evidence answers.
    return ((await this.attestor.evidence(body, changes.connection ?? this)) as { result: string }).result;
  }
}

type Json = Readonly<Record<string, unknown>>;

export interface StartAnswer {
  readonly enrolment: string;
  readonly credential: { readonly blob: string; readonly secret: string };
}

export interface FinishChanges {
  readonly secret?: Uint8Array;
  readonly proof?: Uint8Array;
  readonly attest?: (extraData: Buffer) => Buffer;
  readonly sign?: (attest: Buffer) => Buffer;
}

export interface EvidenceChanges {
  readonly connection?: object;
  readonly claims?: HostClaims;
  readonly claimsText?: string;
  readonly events?: readonly BuiltEvent[];
  readonly eventLog?: Buffer;
  readonly gzip?: Uint8Array;
  readonly bound?: Partial<Pick<Evidence, 'audience' | 'certificate' | 'claims' | 'eventLog'>>;
  readonly extraData?: Buffer;
  readonly selections?: Parameters<LyingTpm['quoteBytes']>[1];
  readonly fields?: Partial<AttestFields>;
  readonly attest?: (extraData: Buffer) => Buffer;
  readonly sign?: (attest: Buffer) => Buffer;
  readonly pcrValues?: readonly object[];
  readonly body?: Record<string, unknown>;
}

/** Puts a TPM into the state after these events. */
export function boot(tpm: LyingTpm, events: readonly BuiltEvent[] = healthyBoot()): void {
  tpm.pcrs.clear();
  for (const built of events) if (built.type !== EV.noAction) tpm.extend(built.pcr, eventDigest(built));
}
