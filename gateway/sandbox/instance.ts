import { createPrivateKey, createPublicKey, hkdfSync, type KeyObject } from 'node:crypto';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Authority, Identity } from '../../pki/authority.ts';
import { openAuthority } from '../../pki/folder.ts';
import { generateKeyPair, readPrivateKey, writePrivateKey, type KeyKind } from '../../pki/keys.ts';
import { workerLogs } from '../config/worker-logs.ts';
import type { EpochMs } from '../core/clock.ts';
import type { MemberId, ServiceId, SubsystemId } from '../core/ids.ts';
import { readDecryptionKey } from '../identity/decrypt.ts';
import type { AgreementRow, GatewayRow, LogRow, RegistryDocument, ServiceRow } from '../registry/document.ts';
import { messageKeyRow, spkiSha256 } from '../registry/keys.ts';
import { openRegistry, signRegistry } from '../registry/load.ts';
import { trustFileOf } from '../registry/trust-file.ts';
import { verifierKeyOf } from '../tlog/note.ts';

/** One agency of the sandbox: its folder holds what an agency's host would hold, and nothing of the other's. */
export interface Agency {
  readonly dir: string;
  /** Gateway name and member. */
  readonly name: string;
  readonly member: MemberId;
  readonly subsystem: SubsystemId;
  readonly linkSpki: string;
  readonly messageKey: KeyObject;
  /** To which identity providers encrypt assertions (FAL2). */
  readonly assertionKey: { readonly kid: string; readonly publicKey: KeyObject };
  readonly origin: string;
  /** Of a gateway with one worker, and with several: a later start may have another number of them. */
  readonly logs: readonly LogRow[];
}

/** A service that the sandbox's agency B offers, and where it really is. */
export interface OfferedService {
  readonly code: string;
  readonly url: string;
  readonly title: { readonly en: string; readonly zh: string };
  /** What the agreement allows; all methods when it says nothing. */
  readonly methods?: readonly string[];
  readonly delivery?: 'stream' | 'verified';
  /** What is demanded of the user; `none`, in as many words, when it says nothing. */
  readonly assertion?: AgreementRow['assertion'];
  /** What is demanded of the machines; in the same way. */
  readonly device?: AgreementRow['device'];
  /** What is at stake, in a word of the policy; `general` when it says nothing. */
  readonly class?: string;
}

/** For how many workers the registry of a sandbox has keys of logs. */
export const MAX_WORKERS = 4;

const YEAR_MS = 365 * 86_400_000;

/** Keys, certificates and the signed registry of a whole T-Road in one folder. Made once; a second start reuses them. */
export class SandboxInstance {
  readonly dir: string;
  readonly #authority: Authority;
  readonly #now: () => EpochMs;

  private constructor(dir: string, authority: Authority, now: () => EpochMs) {
    this.dir = dir;
    this.#authority = authority;
    this.#now = now;
  }

  static async open(dir: string, now: () => EpochMs): Promise<SandboxInstance> {
    await mkdir(join(dir, 'ca'), { recursive: true, mode: 0o700 });
    await mkdir(join(dir, 'registry'), { recursive: true, mode: 0o700 });
    return new SandboxInstance(dir, await openAuthority(join(dir, 'ca'), 'TW sandbox', now), now);
  }

  get registryFile(): string {
    return join(this.dir, 'registry', 'registry.json');
  }

  get registryRootKey(): string {
    return join(this.dir, 'registry', 'root.pub.pem');
  }

  get trustFile(): string {
    return join(this.dir, 'trust.json');
  }

  /** An agency's folder: link, message and log keys, link certificate, HTTPS and client certificates. */
  async agency(folder: string, member: string, subsystem: string): Promise<Agency> {
    const dir = join(this.dir, 'agencies', folder);
    const name = `gw.${folder}.tw.troad.example`;
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const link = await this.#identity(join(dir, 'link'), () => this.#authority.issueLink(name));
    await this.#identity(join(dir, 'https'), () => this.#authority.issueServer());
    const client = (): Promise<Identity> => this.#authority.issueClient(`${subsystem} information system`);
    await this.#identity(join(dir, 'client'), client, true);
    await writeFile(join(dir, 'ca.pem'), this.#authority.rootPem);
    const messageKey = await key(join(dir, 'message.key'), 'ed25519');
    const logKey = await key(join(dir, 'log.key'), 'ed25519');
    const assertionKey = await key(join(dir, 'assertion.key'), 'p256');
    const origin = `${name}/troad-log`;
    return {
      dir,
      name,
      member: member as MemberId, // the sandbox's own constants; the registry parser checks them again
      subsystem: `${member}/${subsystem}` as SubsystemId,
      linkSpki: spkiSha256(link),
      messageKey: createPublicKey(messageKey),
      assertionKey: {
        kid: readDecryptionKey(assertionKey).kid,
        publicKey: createPublicKey(assertionKey),
      },
      origin,
      logs: [...workerLogs({ dir, origin }, 1), ...workerLogs({ dir, origin }, MAX_WORKERS)].map((log) => ({
        origin: log.origin,
        vkey: verifierKeyOf(log.origin, createPublicKey(logKey)),
      })),
    };
  }

  /** What agency A's identity provider needs: a folder of its own, keys, and a certificate for `localhost`. */
  async identityProvider(): Promise<{
    readonly dir: string;
    readonly signingKey: KeyObject;
    /** From which the provider derives the keys of its cookies. */
    readonly secret: Buffer;
    readonly tls: { readonly key: string; readonly cert: string; readonly ca: string };
  }> {
    const dir = join(this.dir, 'agencies', 'a11-idp');
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await this.#identity(join(dir, 'https'), () => this.#authority.issueServer());
    const signingKey = await key(join(dir, 'signing.key'), 'p256');
    return {
      dir,
      signingKey,
      secret: hkdf(signingKey),
      tls: {
        key: await readFile(join(dir, 'https.key'), 'utf8'),
        cert: await readFile(join(dir, 'https.pem'), 'utf8'),
        // Clients send their certificate alone, without the issuing one.
        ca: this.#authority.rootPem + this.#authority.issuingPem,
      },
    };
  }

  /** What the attestation service needs: a folder of its own with a TLS certificate (`server`) and `signing.key`. */
  async attestationService(): Promise<{ readonly dir: string; readonly signingKey: KeyObject }> {
    const dir = join(this.dir, 'attestor');
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await this.#identity(join(dir, 'server'), () => this.#authority.issueServer());
    await writeFile(join(dir, 'ca.pem'), this.#authority.rootPem);
    return { dir, signingKey: await key(join(dir, 'signing.key'), 'p256') };
  }

  /** Signs the registry for the addresses of this start, and writes the auditor's trust file. */
  async publish(
    agencies: readonly { readonly agency: Agency; readonly linkPort: number }[],
    provider: Agency,
    consumer: Agency,
    services: readonly OfferedService[],
    { identityProviders, attestors }: Required<Pick<RegistryDocument, 'identityProviders' | 'attestors'>>,
    policySigners: readonly string[],
  ): Promise<void> {
    const now = this.#now();
    const rootKey = await key(join(this.dir, 'registry', 'root.key'), 'ed25519');
    const publicPem = createPublicKey(rootKey).export({ type: 'spki', format: 'pem' });
    await writeFile(this.registryRootKey, publicPem);
    const document: RegistryDocument = {
      format: 'troad-registry-v1',
      instance: 'TW',
      version: (await this.#publishedVersion(createPublicKey(rootKey))) + 1,
      issuedAt: now,
      expiresAt: now + YEAR_MS,
      members: [
        { id: consumer.member, name: { en: 'Agency A (sandbox)', zh: '甲機關（沙盒）' } },
        { id: provider.member, name: { en: 'Agency B (sandbox)', zh: '乙機關（沙盒）' } },
      ],
      gateways: agencies.map(({ agency, linkPort }) => gatewayRow(agency, linkPort, now)),
      subsystems: [consumer, provider].map(({ subsystem, name }) => ({ id: subsystem, gateway: name })),
      services: services.map((service) => serviceRow(provider, service)),
      agreements: services.map((service) => agreementRow(consumer, provider, service, now)),
      linkAnchors: [this.#authority.rootPem],
      identityProviders,
      attestors,
    };
    const file = await signRegistry(document, [rootKey]);
    await writeFile(this.registryFile, file);
    const registry = await openRegistry(Buffer.from(file), { rootKeys: [createPublicKey(rootKey)] });
    const pems = await Promise.all(policySigners.map((path) => readFile(path, 'utf8')));
    const signers = pems.map((pem) =>
      createPublicKey(pem).export({ type: 'spki', format: 'der' }).toString('base64'),
    );
    const validity = { notBefore: 0, notAfter: now + YEAR_MS };
    const policy = signers.length === 0 ? [] : [{ signers, threshold: signers.length, ...validity }];
    await writeFile(this.trustFile, `${JSON.stringify(trustFileOf(registry, policy), null, 2)}\n`);
  }

  async #publishedVersion(rootKey: KeyObject): Promise<number> {
    if (!(await exists(this.registryFile))) return 0;
    const registry = await openRegistry(await readFile(this.registryFile), { rootKeys: [rootKey] });
    return registry.version;
  }

  /** A key and its certificate, issued on the first start. @returns the public key */
  async #identity(path: string, issue: () => Promise<Identity>, alone = false): Promise<KeyObject> {
    if (!(await exists(`${path}.pem`))) {
      const identity = await issue();
      await writePrivateKey(`${path}.key`, identity.privateKey);
      // A pinned certificate stands alone; a server sends the issuer along.
      await writeFile(`${path}.pem`, alone ? identity.pem : identity.chainPem);
    }
    return createPublicKey(readPrivateKey(`${path}.key`));
  }
}

/** A secret that lasts as long as the key, and tells nothing about it. */
const hkdf = (from: KeyObject): Buffer =>
  Buffer.from(hkdfSync('sha256', from.export({ type: 'pkcs8', format: 'der' }), '', 'troad sandbox idp', 32));

async function key(path: string, kind: KeyKind): Promise<KeyObject> {
  if (!(await exists(path))) await writePrivateKey(path, generateKeyPair(kind).privateKey);
  return createPrivateKey(await readFile(path));
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

function gatewayRow(agency: Agency, linkPort: number, now: EpochMs): GatewayRow {
  return {
    name: agency.name,
    member: agency.member,
    address: `127.0.0.1:${linkPort}`,
    link: [{ spki: agency.linkSpki }],
    messageKeys: [
      // From the epoch: a second start may not make the first start's signatures look too early.
      messageKeyRow(agency.name, agency.messageKey, { notBefore: 0, notAfter: now + YEAR_MS }),
    ],
    logs: agency.logs,
  };
}

const serviceRow = (provider: Agency, { code, title }: OfferedService): ServiceRow => ({
  id: `${provider.subsystem}/${code}` as ServiceId,
  title,
  type: 'REST',
});

const agreementRow = (
  consumer: Agency,
  provider: Agency,
  { code, methods = ['*'], assertion = 'none', device = 'none', class: stake }: OfferedService,
  now: EpochMs,
): AgreementRow => ({
  id: `TW-SANDBOX-${code}`,
  consumer: consumer.subsystem,
  service: `${provider.subsystem}/${code}` as ServiceId,
  methods,
  paths: ['**'],
  fromMs: now - 60_000,
  untilMs: now + YEAR_MS,
  enabledByProvider: true,
  enabledByConsumer: true,
  // In as many words: most services are used by systems, no person signs in, and any machine will do.
  assertion,
  device,
  ...(stake === undefined ? {} : { class: stake }),
});
