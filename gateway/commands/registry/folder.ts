import { createPublicKey, type KeyObject } from 'node:crypto';
import { chmodSync, existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Authority, type Certificate } from '../../../pki/authority.ts';
import { openAuthority } from '../../../pki/folder.ts';
import { generateKeyPair, readPrivateKey, writePrivateKey } from '../../../pki/keys.ts';
import type { EpochMs } from '../../core/clock.ts';
import { ConfigError } from '../../core/errors.ts';
import { named, naming } from '../../core/file-errors.ts';
import { makeFolder } from '../../evidence/make-folder.ts';
import { writeDurably } from '../../node/policy-store.ts';
import { contentOf } from '../../node/named-file.ts';
import { spkiSha256 } from '../../registry/keys.ts';
import { openRegistry, signRegistry } from '../../registry/load.ts';
import type { Registry } from '../../registry/registry.ts';
import { parsePublicKey } from '../../x509/key-file.ts';
import { json, readInput } from '../input.ts';
import {
  changesOf,
  documentOf,
  type Draft,
  emptyDraft,
  gatewayNamed,
  readDraft,
  requireGood,
} from './draft.ts';

const DRAFT = 'draft.json';
const ROOT = 'registry-root.pem';
const PUBLISHED = 'registry.json';
const DAY_MS = 86_400_000;

/** A version that was just signed. */
export interface SignedVersion {
  readonly registry: Registry;
  /** Of its rows, against the version before. */
  readonly changes: readonly string[];
}

/**
 * What the operator of an instance's registry has: the draft of the next version, every version that was signed, the
 * root key and the authority that issues link certificates. Whoever has this folder has the instance.
 */
export class RegistryFolder {
  readonly dir: string;
  readonly #now: () => EpochMs;

  private constructor(dir: string, now: () => EpochMs) {
    this.dir = resolve(dir);
    this.#now = now;
  }

  /** @throws ConfigError there is one already: its keys cannot be had again */
  static async create(dir: string, instance: string, now: () => EpochMs): Promise<RegistryFolder> {
    const folder = new RegistryFolder(dir, now);
    if (existsSync(folder.#at(DRAFT)))
      throw new ConfigError([`${folder.dir}: holds a registry already  已有登記名冊`]);
    naming(`--dir ${dir}`, () => makeFolder(folder.#at('ca')));
    makeFolder(folder.#at('versions'));
    const authority = await openAuthority(folder.#at('ca'), `${instance} T-Road`, now);
    const root = generateKeyPair('ed25519');
    await writePrivateKey(folder.#at('root.key'), root.privateKey);
    folder.#publish(ROOT, root.publicKey.export({ type: 'spki', format: 'pem' }).toString());
    folder.#publish('ca.pem', authority.rootPem);
    await folder.save(emptyDraft(instance, [authority.rootPem])); // last: its presence means that all is there
    return folder;
  }

  /** @throws ConfigError */
  static open(dir: string, now: () => EpochMs): RegistryFolder {
    const folder = new RegistryFolder(dir, now);
    // One that may not be looked into is another matter than one without a registry.
    const files = existsSync(folder.dir) ? naming(`--dir ${dir}`, () => readdirSync(folder.dir)) : [];
    if (files.includes(DRAFT)) return folder;
    throw new ConfigError([
      `--dir ${dir}: holds no registry; troad registry create makes one  此資料夾沒有登記名冊`,
    ]);
  }

  #at(name: string): string {
    return join(this.dir, name);
  }

  #publish(name: string, text: string): void {
    writeDurably(this.dir, name, text);
    chmodSync(this.#at(name), 0o644);
  }

  get draft(): Draft {
    return readInput('', this.#at(DRAFT), (content) => readDraft(json(content)));
  }

  /** @throws ConfigError nothing is written that gateways would refuse */
  async save(draft: Draft): Promise<void> {
    await requireGood(draft);
    this.#publish(DRAFT, `${JSON.stringify(draft, undefined, 2)}\n`);
  }

  /** The version signed last; undefined before the first. @throws ConfigError it is not signed by the root key */
  async newest(): Promise<Registry | undefined> {
    const numbers = readdirSync(this.#at('versions')).map((name) =>
      Number(/^(\d+)\.json$/.exec(name)?.[1] ?? 0),
    );
    const number = Math.max(0, ...numbers);
    const kept = number === 0 ? undefined : await this.#open(this.#version(number));
    // `versions` may come from a backup: gateways refuse a number they have seen with other content.
    const published = await this.#published();
    return published !== undefined && published.version > (kept?.version ?? 0) ? published : kept;
  }

  /** What gateways were given last. Undefined where it cannot be read: it is written anew with every version. */
  async #published(): Promise<Registry | undefined> {
    try {
      return await this.#open(this.#at(PUBLISHED));
    } catch (thrown) {
      if (thrown instanceof ConfigError) return undefined; // there is none, or it is damaged
      throw thrown;
    }
  }

  async #open(path: string): Promise<Registry> {
    const rootKeys = [this.#rootKey()];
    try {
      return await openRegistry(contentOf(path), { rootKeys });
    } catch (thrown) {
      throw named(path, thrown);
    }
  }

  #version(number: number): string {
    return this.#at(join('versions', `${number}.json`));
  }

  #rootKey(): KeyObject {
    return readInput('', this.#at(ROOT), parsePublicKey);
  }

  /** What the draft would change. */
  async changes(): Promise<readonly string[]> {
    return changesOf(draftOf(await this.newest()), this.draft);
  }

  /**
   * Signs the draft as the next version. Each stays in `versions`: with their signatures and times they are the record of
   * what the registry said and when it changed.
   * @param keys files; none: that of the folder. Two while a root key is replaced
   * @throws ConfigError
   */
  async sign(days: number, keys: readonly string[]): Promise<SignedVersion> {
    const before = await this.newest();
    const draft = this.draft;
    const privateKeys = (keys.length > 0 ? keys : [this.#at('root.key')]).map((file) => readPrivateKey(file));
    const root = this.#rootKey();
    if (!privateKeys.some((key) => createPublicKey(key).equals(root)))
      throw new ConfigError([
        `--key: none is that of ${this.#at(ROOT)}, which gateways know  不是閘道所知的根金鑰`,
      ]);
    const issuedAt = this.#now();
    const version = (before?.version ?? 0) + 1;
    const facts = { version, issuedAt, expiresAt: issuedAt + days * DAY_MS };
    const text = await signRegistry(documentOf(draft, facts), privateKeys);
    const registry = await openRegistry(Buffer.from(text), { rootKeys: [root] }, before);
    // The version first: a number that was given is never given again, whatever happens now.
    writeDurably(this.#at('versions'), `${version}.json`, text);
    this.#publish(PUBLISHED, text);
    return { registry, changes: changesOf(draftOf(before), draft) };
  }

  /**
   * Answers a gateway's certificate request. Its key is the one of the gateway's row: the request alone proves nothing.
   * @throws ConfigError, MalformedBytes
   */
  async certify(gateway: string, requestPem: string): Promise<Certificate> {
    const row = gatewayNamed(this.draft, gateway);
    const authority = await this.#authority();
    const certificate = await authority.certifyLinkRequest(requestPem, gateway);
    const spki = spkiSha256(certificate.publicKey);
    if (row.link.some((known) => known.spki === spki)) return certificate;
    throw new ConfigError([
      `the key of the request is not one of ${gateway}'s row: add {"spki": "${spki}"} to its link, if it is theirs  金鑰與名冊不符`,
    ]);
  }

  #authority(): Promise<Authority> {
    return openAuthority(this.#at('ca'), '', this.#now);
  }
}

/** A signed version as the draft it was. */
function draftOf(registry: Registry | undefined): Draft | undefined {
  if (registry === undefined) return undefined;
  const { version: _, issuedAt: __, expiresAt: ___, ...rest } = registry.document;
  return { ...emptyDraft(registry.instance, []), ...rest } as unknown as Draft; // a document has all of a draft
}
