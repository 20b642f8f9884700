import { setTimeout as pause } from 'node:timers/promises';
import { sha256 } from '../core/bytes.ts';
import { describe } from '../core/errors.ts';
import { type Authorization, type Command, RC, TpmRefused } from '../tpm/command.ts';
import {
  activateCredential,
  certify,
  create,
  createPrimary,
  flushContext,
  handlesFrom,
  type KeyBlob,
  load,
  type LoadedKey,
  policyEndorsement,
  policyOr,
  quote,
  random,
  readPublic,
  shutdown,
  type SignedAttest,
  sign,
  startPolicySession,
  startup,
} from '../tpm/commands.ts';
import type { Credential } from '../tpm/credential.ts';
import type { PcrSelection } from '../tpm/pcr.ts';
import { nvRead, nvReadPublic, pcrRead } from '../tpm/storage-commands.ts';
import { HIERARCHY, type KeyTemplate } from '../tpm/public.ts';
import { EK_P256, EK_RSA, type EkPolicy, ekPolicyOf } from '../tpm/templates.ts';
import { readDerLength } from './der-length.ts';
import { openTransport, type TpmTransport } from './transport.ts';

/** There is no way to the TPM any more: what was loaded in it is lost, too. */
export class TpmLost extends Error {
  override readonly name = 'TpmLost';
}

/** The endorsement key in use: where it is, and how its policy is met. */
export interface EndorsementKey extends LoadedKey {
  /** DER of its certificate. */
  readonly certificate: Buffer;
  readonly policy: EkPolicy;
}

interface EkPlace {
  readonly type: 'rsa' | 'ecc';
  readonly certificate: number;
  readonly handle: number;
  readonly template?: KeyTemplate;
}

/** Where certificates and keys stand (EK profile §2.2.1.4, provisioning guidance §7.8), the quickest key first. */
const EK_PLACES: readonly EkPlace[] = [
  { type: 'ecc', certificate: 0x01c0000a, handle: 0x81010002, template: EK_P256 },
  { type: 'ecc', certificate: 0x01c00014, handle: 0x81010014 },
  { type: 'ecc', certificate: 0x01c00016, handle: 0x81010016 },
  { type: 'rsa', certificate: 0x01c00002, handle: 0x81010001, template: EK_RSA },
  { type: 'rsa', certificate: 0x01c00012, handle: 0x81010012 },
];
/** Certificates of the EK's issuers, where the vendor put them (EK profile §2.2.1.5.2). */
const CHAIN = { first: 0x01c00100, last: 0x01c001ff };
const TRANSIENT = 0x80000000;
/** Where to ask, and the kinds of handles that come back: loaded sessions stand under 02, policy sessions as 03. */
const LEAKS = [
  [TRANSIENT, [0x80]],
  [0x02000000, [0x02, 0x03]],
  [0x03000000, [0x02, 0x03]],
] as const satisfies readonly (readonly [number, readonly number[]])[];
const NV_STEP = 512;
const MAX_CERTIFICATE = 8192;
const MAX_TRIES = 20;

/**
 * One TPM, used by one program at a time. Commands wait for each other; what they load is flushed again.
 */
export class Tpm {
  readonly #transport: TpmTransport;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(transport: TpmTransport) {
    this.#transport = transport;
  }

  /**
   * Opens and starts the TPM.
   * @param address `device:…`, `unix:…` or `tcp:…` ({@link openTransport})
   */
  static async open(address: string): Promise<Tpm> {
    const tpm = new Tpm(await openTransport(address));
    try {
      await tpm.run(startup());
    } catch (thrown) {
      if (!(thrown instanceof TpmRefused && thrown.rc === RC.initialize)) {
        await tpm.#transport.close();
        throw new Error(`${address}: no TPM could be started there: ${describe(thrown)}`, { cause: thrown });
      }
    }
    // Through a resource manager we see only our own handles. Straight to the TPM these are leaks of a program that
    // died: three of them and no session can be started any more.
    if (!address.startsWith('device:')) await tpm.sweep();
    return tpm;
  }

  /** Sends one command and reads its response. @throws TpmRefused */
  run<T>(command: Command<T>): Promise<T> {
    const turn = this.#last.then(() => this.#send(command));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #send<T>(command: Command<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      const response = await this.#transmit(command.bytes);
      try {
        return command.parse(response);
      } catch (thrown) {
        // "Not now": after an unclean stop, while it tests itself, between slices of a long command. Same bytes again.
        if (!(thrown instanceof TpmRefused && AGAIN.has(thrown.rc)) || tries === MAX_TRIES) throw thrown;
        await pause(5 * tries);
      }
    }
  }

  async #transmit(bytes: Uint8Array): Promise<Buffer> {
    try {
      return await this.#transport.transmit(bytes);
    } catch (cause) {
      throw new TpmLost(describe(cause), { cause });
    }
  }

  /** Flushes every transient object and session. */
  async sweep(): Promise<void> {
    for (const [first, kinds] of LEAKS) {
      for (const handle of await this.run(handlesFrom(first))) {
        // The list goes on into the next range.
        if (kinds.some((kind) => kind === handle >>> 24))
          await this.run(flushContext(handle)).catch(ignoreRefusal);
      }
    }
  }

  /** Tells the TPM that it may lose power, and lets go of it. */
  async close(options: { readonly shutdown?: boolean } = {}): Promise<void> {
    if (options.shutdown === true) await this.run(shutdown()).catch(ignoreRefusal);
    await this.#last;
    await this.#transport.close();
  }

  /**
   * The first endorsement key that has a certificate.
   * @param type only this one; RSA keys are slow, and all that some TPMs have
   * @throws Error when there is none
   */
  async endorsementKey(type?: 'rsa' | 'ecc'): Promise<EndorsementKey> {
    for (const place of EK_PLACES) {
      if (type !== undefined && place.type !== type) continue;
      const certificate = await this.#certificateAt(place.certificate);
      if (certificate === undefined) continue;
      const key = await this.#keyAt(place);
      if (key === undefined) continue;
      const policy = ekPolicyOf(key.area);
      if (policy !== undefined) return { ...key, certificate, policy };
    }
    throw new Error('the TPM has no endorsement key with a certificate');
  }

  /** Issuers' certificates that the vendor stored beside the EK's, DER each. */
  async issuerCertificates(): Promise<Buffer[]> {
    const indexes = (await this.run(handlesFrom(CHAIN.first))).filter((index) => index <= CHAIN.last);
    const certificates: Buffer[] = [];
    for (const index of indexes) {
      const certificate = await this.#certificateAt(index);
      if (certificate !== undefined) certificates.push(certificate);
    }
    return certificates;
  }

  async #keyAt({ handle, template }: EkPlace): Promise<LoadedKey | undefined> {
    if ((await this.run(handlesFrom(handle, 1)))[0] === handle) {
      return { handle, area: (await this.run(readPublic(handle))).area };
    }
    return template && (await this.run(createPrimary(HIERARCHY.endorsement, template)));
  }

  async #certificateAt(index: number): Promise<Buffer | undefined> {
    if ((await this.run(handlesFrom(index, 1)))[0] !== index) return undefined;
    const { dataSize } = await this.run(nvReadPublic(index));
    const parts: Buffer[] = [];
    for (let at = 0; at < Math.min(dataSize, MAX_CERTIFICATE); at += NV_STEP) {
      parts.push(await this.run(nvRead(index, Math.min(NV_STEP, dataSize - at), at)));
    }
    const bytes = Buffer.concat(parts);
    const length = readDerLength(bytes); // the index may be larger than the certificate in it
    return length === undefined || length > bytes.length ? undefined : bytes.subarray(0, length);
  }

  /** A new key below the EK. */
  async createUnder(ek: EndorsementKey, template: KeyTemplate): Promise<KeyBlob> {
    return this.#authorized(ek, (auth) => create(ek.handle, auth, template));
  }

  async loadUnder(ek: EndorsementKey, blob: KeyBlob): Promise<LoadedKey> {
    return this.#authorized(ek, (auth) => load(ek.handle, auth, blob));
  }

  activate(
    key: LoadedKey,
    ek: EndorsementKey,
    credential: Pick<Credential, 'blob' | 'secret'>,
  ): Promise<Buffer> {
    return this.#authorized(ek, (auth) =>
      activateCredential(key.handle, { handle: ek.handle, auth }, credential),
    );
  }

  quote(key: LoadedKey, extraData: Uint8Array, selection: PcrSelection): Promise<SignedAttest> {
    return this.run(quote(key.handle, extraData, [selection]));
  }

  certify(object: LoadedKey, key: LoadedKey, extraData: Uint8Array): Promise<SignedAttest> {
    return this.run(certify(object.handle, key.handle, extraData));
  }

  /** @returns TPMT_SIGNATURE over the message's SHA-256 */
  signSha256(key: LoadedKey, message: Uint8Array): Promise<Buffer> {
    return this.run(sign(key.handle, sha256(message)));
  }

  /** Values of PCRs, ascending. @throws Error when the bank is not there */
  async pcrValues(selection: PcrSelection): Promise<ReadonlyMap<number, Buffer>> {
    const values = new Map<number, Buffer>();
    let wanted = [...selection.pcrs];
    while (wanted.length > 0) {
      const { selections, values: found } = await this.run(pcrRead({ hash: selection.hash, pcrs: wanted }));
      const pcrs = selections.flatMap((some) => (some.hash === selection.hash ? some.pcrs : []));
      // A bank that is not allocated answers with nothing, for ever.
      if (pcrs.length === 0 || pcrs.length !== found.length) {
        throw new Error(`the TPM has no ${selection.hash.name} bank`);
      }
      pcrs.forEach((pcr, i) => values.set(pcr, found[i] ?? Buffer.alloc(0)));
      wanted = wanted.filter((pcr) => !values.has(pcr));
    }
    return values;
  }

  async flush(key: LoadedKey): Promise<void> {
    if (key.handle >>> 24 === TRANSIENT >>> 24) await this.run(flushContext(key.handle)).catch(ignoreRefusal);
  }

  /** One use of the EK. Success ends a policy session; a command that fails leaves it in one of three slots. */
  async #authorized<T>(ek: EndorsementKey, use: (auth: Authorization) => Command<T>): Promise<T> {
    const { hash, branches } = ek.policy;
    const session = await this.run(startPolicySession(await this.run(random(16)), hash));
    try {
      await this.run(policyEndorsement(session));
      if (branches !== undefined) await this.run(policyOr(session, branches));
      return await this.run(use({ policySession: session }));
    } catch (thrown) {
      await this.run(flushContext(session)).catch(ignoreRefusal);
      throw thrown;
    }
  }
}

const AGAIN: ReadonlySet<number> = new Set([RC.retry, RC.yielded, RC.testing]);

/** A handle that is gone already, a TPM that is going: nothing to do about it. Other faults matter. */
function ignoreRefusal(thrown: unknown): undefined {
  if (!(thrown instanceof TpmRefused)) throw thrown;
  return undefined;
}
