import { X509Certificate } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { base64url, sha256, utf8, view } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { bindingMessage } from '../device/binding.ts';
import { HASH } from '../tpm/algorithm.ts';
import type { KeyBlob, LoadedKey } from '../tpm/commands.ts';
import { leftPad } from '../tpm/cursor.ts';
import { parseEventLog } from '../tpm/event-log.ts';
import { type PcrSelection, PCR_COUNT } from '../tpm/pcr.ts';
import { parseSignature } from '../tpm/signature.ts';
import { AK_P256, BINDING_P256 } from '../tpm/templates.ts';
import { canonicalJson } from '../trust/canonical.ts';
import type { AttestorClient } from './attestor-client.ts';
import { certifyData, enrolmentProof, enrolmentTranscript } from './enrolment.ts';
import { qualifyingData } from './evidence.ts';
import { claimsDocument, type HostClaims } from './health.ts';
import { parseObject, Shape } from './shape.ts';
import { syncFolder } from './sync-folder.ts';
import type { EndorsementKey, Tpm } from './tpm.ts';

/** What the agent keeps between starts. Nothing in it is secret: the private halves open in one TPM only. */
interface AgentState {
  readonly device: string;
  readonly name: string;
  readonly ak: KeyBlob;
  readonly binding: KeyBlob;
}

export interface AgentOptions {
  readonly tpm: Tpm;
  /** Folder for keys and certificates of this device. */
  readonly dir: string;
  readonly client: AttestorClient;
  /** The firmware's event log, as it is now. */
  readonly eventLog: () => Promise<Uint8Array>;
  readonly claims: () => Promise<HostClaims>;
}

/** One attestation result, to be shown to a gateway. */
export interface Result {
  readonly token: string;
  readonly lifeSeconds: number;
}

const STATE = 'device.json';

/** Attester (RFC 9334): the device's side, with its keys loaded in the TPM. */
export class DeviceAgent {
  readonly #options: AgentOptions;
  readonly #ak: LoadedKey;
  readonly #binding: LoadedKey;
  readonly device: string;
  readonly name: string;

  private constructor(options: AgentOptions, state: AgentState, ak: LoadedKey, binding: LoadedKey) {
    this.#options = options;
    this.device = state.device;
    this.name = state.name;
    this.#ak = ak;
    this.#binding = binding;
  }

  /** Loads the keys of an enrolled device. @throws MalformedBytes, or ENOENT when it is not enrolled */
  static async open(options: AgentOptions): Promise<DeviceAgent> {
    const state = parseState(await readFile(join(options.dir, STATE)));
    const ek = await options.tpm.endorsementKey();
    const ak = await options.tpm.loadUnder(ek, state.ak);
    const binding = await options.tpm.loadUnder(ek, state.binding);
    await options.tpm.flush(ek);
    return new DeviceAgent(options, state, ak, binding);
  }

  /**
   * Makes keys in the TPM and has the attestation service take them in. Nothing is kept when it refuses.
   * @param name for people; unique in the service
   * @param issuers CA certificates of the TPM's vendor, DER, where the TPM does not hold them itself
   * @returns `active`, or `pending` until an administrator approves
   * @throws AttestorRefused
   */
  static async enrol(
    { tpm, dir, client }: Pick<AgentOptions, 'tpm' | 'dir' | 'client'>,
    name: string,
    issuers: readonly Uint8Array[] = [],
  ): Promise<{ readonly device: string; readonly state: string }> {
    const ek = await tpm.endorsementKey();
    const keys = { ak: await tpm.createUnder(ek, AK_P256), binding: await tpm.createUnder(ek, BINDING_P256) };
    const ak = await tpm.loadUnder(ek, keys.ak);
    const binding = await tpm.loadUnder(ek, keys.binding);
    try {
      const id = base64url(sha256(ek.area.publicKey.export({ type: 'spki', format: 'der' })));
      // Before the service takes it in: a full disk afterwards would lose keys that only an administrator can replace.
      const keep = await drafted(dir, STATE, stateText({ device: id, name, ...keys }));
      const { device, state, certificates } = await enrolled({ tpm, client, ek, ak, binding, name, issuers });
      if (device !== id) throw new MalformedBytes('the service took in another device');
      await keep();
      for (const [file, pem] of Object.entries(certificates ?? {})) await (await drafted(dir, file, pem))();
      return { device, state };
    } finally {
      for (const key of [binding, ak, ek]) await tpm.flush(key);
    }
  }

  /**
   * Proves the state of this machine to the attestation service.
   * @param audience gateway that the result is for
   * @param certificate PEM or DER of the TLS certificate that this device will show there
   * @param patienceMs how long each answer of the service may take
   * @throws AttestorRefused
   */
  async attest(audience: string, certificate: string | Buffer, patienceMs?: number): Promise<Result> {
    const { client, tpm, eventLog: readLog, claims: readClaims } = this.#options;
    // Before the nonce: these may take longer than it lives.
    const claims = utf8(canonicalJson(claimsDocument(await readClaims())));
    const eventLog = view(await readLog());
    const asked = await client.post('/v1/attest/challenge', { device: this.device }, patienceMs);
    const { session, selection } = readChallenge(asked);
    const bound = { audience, certificate: sha256(new X509Certificate(certificate).raw), claims, eventLog };
    const nonce = Buffer.from(session, 'base64url');
    const signed = await tpm.quote(this.#ak, qualifyingData(nonce, bound), selection);
    const evidence = {
      session,
      audience,
      certificate: base64url(bound.certificate),
      attest: base64url(signed.attest),
      signature: base64url(signed.signature),
      eventLog: base64url(gzipSync(eventLog)),
      claims: base64url(claims),
      pcrValues: await this.#valuesWithoutLog(eventLog, selection),
    };
    const answer = await client.post('/v1/attest/evidence', evidence, patienceMs);
    return Shape.receive(answer, 'result', (shape) => ({
      token: shape.text('result', /^[\w-]+\.[\w-]+\.[\w-]{86}$/),
      lifeSeconds: shape.integer('seconds', 1, 3600),
    }));
  }

  /**
   * Says that a TLS connection is this device's own.
   * @param exporter RFC 9266 value of the connection
   * @param certificateSha256 of the certificate it was opened with, base64url
   * @returns r ‖ s, base64url
   */
  async bind(exporter: Uint8Array, certificateSha256: string): Promise<string> {
    const message = bindingMessage(exporter, certificateSha256);
    const signature = parseSignature(await this.#options.tpm.signSha256(this.#binding, message));
    if (!('r' in signature)) throw new MalformedBytes('the binding key did not sign with ECDSA');
    return base64url(Buffer.concat([leftPad(signature.r, 32), leftPad(signature.s, 32)]));
  }

  /** Takes the keys out of the TPM, which has room for three. */
  async release(): Promise<void> {
    for (const key of [this.#binding, this.#ak]) await this.#options.tpm.flush(key);
  }

  /** What the firmware does not log (shim's MOK state, for one) the service compares as values. */
  async #valuesWithoutLog(log: Uint8Array, selection: PcrSelection): Promise<object[]> {
    const logged = new Set(parseEventLog(log).events.map(({ pcr }) => pcr));
    const pcrs = selection.pcrs.filter((pcr) => !logged.has(pcr));
    if (pcrs.length === 0) return [];
    const values = await this.#options.tpm.pcrValues({ hash: selection.hash, pcrs });
    return [...values].map(([pcr, value]) => ({ pcr, value: base64url(value) }));
  }
}

function readChallenge(answer: Readonly<Record<string, unknown>>): {
  session: string;
  selection: PcrSelection;
} {
  return Shape.receive(answer, 'challenge', (shape) => ({
    session: shape.text('session', /^[A-Za-z0-9_-]{43}$/),
    selection: {
      hash: HASH[shape.oneOf('bank', ['sha256', 'sha384', 'sha512'])],
      pcrs: shape.integers('pcrs', 0, PCR_COUNT - 1),
    },
  }));
}

interface Enrolling {
  readonly tpm: Tpm;
  readonly client: AttestorClient;
  readonly ek: EndorsementKey;
  readonly ak: LoadedKey;
  readonly binding: LoadedKey;
  readonly name: string;
  readonly issuers: readonly Uint8Array[];
}

async function enrolled({ tpm, client, ek, ak, binding, name, issuers }: Enrolling) {
  const chain = [ek.certificate, ...(await tpm.issuerCertificates()), ...issuers];
  const begun = await client.post('/v1/enrol/start', {
    ekCertificates: chain.map(base64url),
    ek: base64url(ek.area.raw),
    ak: base64url(ak.area.raw),
    bindingKey: base64url(binding.area.raw),
    name,
  });
  const { enrolment, credential } = Shape.receive(begun, 'enrolment', (shape) => ({
    enrolment: shape.text('enrolment', /^[A-Za-z0-9_-]{43}$/),
    credential: shape.object('credential', (parts) => ({
      blob: parts.bytes('blob', 512),
      secret: parts.bytes('secret', 1024),
    })),
  }));
  const secret = await tpm.activate(ak, ek, credential);
  const transcript = enrolmentTranscript({
    ekCertificate: ek.certificate,
    ek: ek.area.raw,
    ak: ak.area.raw,
    bindingKey: binding.area.raw,
    name,
    enrolment,
  });
  const certified = await tpm.certify(binding, ak, certifyData(transcript));
  const answer = await client.post('/v1/enrol/finish', {
    enrolment,
    proof: base64url(enrolmentProof(secret, transcript)),
    attest: base64url(certified.attest),
    signature: base64url(certified.signature),
  });
  return Shape.receive(answer, 'enrolment', (shape) => ({
    device: shape.text('device', /^[A-Za-z0-9_-]{43}$/),
    state: shape.oneOf('state', ['active', 'pending']),
    certificates: shape.optional('certificates', (pair) => ({
      'ak.pem': pair.text('attestationKey', PEM),
      'device.pem': pair.text('deviceKey', PEM),
    })),
  }));
}

const PEM = /^-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{1,8000}\n-----END CERTIFICATE-----\n$/;

function stateText({ device, name, ak, binding }: AgentState): string {
  const blob = (key: KeyBlob): object => ({ public: base64url(key.public), private: base64url(key.private) });
  return `${JSON.stringify({ device, name, ak: blob(ak), binding: blob(binding) }, undefined, 1)}\n`;
}

/** @returns puts the file in the place of the old one, in one step: whatever could fail for want of room is done */
async function drafted(dir: string, name: string, text: string): Promise<() => Promise<void>> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, name);
  const file = await open(`${path}.new`, 'w', 0o600);
  await file.writeFile(text);
  await file.sync();
  await file.close();
  return async () => {
    await rename(`${path}.new`, path);
    await syncFolder(dir);
  };
}

function parseState(bytes: Uint8Array): AgentState {
  const key = (shape: Shape): KeyBlob => ({
    public: shape.bytes('public', 2048),
    private: shape.bytes('private', 2048),
  });
  return Shape.receive(parseObject(bytes, STATE), STATE, (shape) => ({
    device: shape.text('device', /^[A-Za-z0-9_-]{43}$/),
    name: shape.text('name'),
    ak: shape.object('ak', key),
    binding: shape.object('binding', key),
  }));
}
