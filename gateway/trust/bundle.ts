import { base64url, sha256 } from '../core/bytes.ts';
import { describe } from '../core/errors.ts';
import { BundleFault, BundleRefused, type BundleRefusalCode } from './bundle-refused.ts';
import { hasExactly, isObject } from './canonical.ts';
import { checkModule, type CheckedModule } from './module-abi.ts';

/** The files of a bundle, as read from wherever the caller keeps them. */
export interface BundleFiles {
  /** `manifest.json` */
  readonly manifest: Uint8Array;
  /** `policy.wasm` */
  readonly wasm: Uint8Array;
  /** `data.json` */
  readonly data: Uint8Array;
  /** `release.json`, when somebody has released it: not part of the content, and not named by the manifest. */
  readonly release?: Uint8Array;
}

/** What a reason code says to people. */
export interface ReasonTexts {
  readonly en: string;
  readonly zh: string;
}

const MEMBERS = ['entrypoint', 'files', 'format', 'opa', 'sources'];
const FORMAT = 'troad-policy-bundle-v1';
const MAX_DATA_BYTES = 4 << 20;
const SHA256 = /^[0-9a-f]{64}$/;

/**
 * A compiled policy that is complete: manifest, module and data belong together, and the module has the outside of a
 * policy and no more. Who may put a policy in force is not decided here.
 */
export class Bundle {
  declare protected readonly nominal: never;
  /** SHA-256 of the manifest, base64url. The manifest names every other byte, sources included. */
  readonly digest: string;
  /** `package/path/rule` */
  readonly entrypoint: string;
  /** Version of the compiler. */
  readonly opa: string;
  /** Begin of the digest over the sources, for people to compare. */
  readonly revision: string;
  /** SHA-256 (hexadecimal) by path of every file it was made from. */
  readonly sources: Readonly<Record<string, string>>;
  /** Every code the policy may give as a reason. */
  readonly reasons: ReadonlyMap<string, ReasonTexts>;
  /** Text of the data document, checked to be a JSON object. */
  readonly data: string;
  readonly module: CheckedModule;

  private constructor(manifest: Manifest, digest: string, data: string, module: CheckedModule) {
    this.digest = digest;
    this.entrypoint = manifest.entrypoint;
    this.opa = manifest.opa;
    this.revision = base64url(sha256(JSON.stringify(manifest.sources))).slice(0, 12);
    this.sources = manifest.sources;
    this.reasons = parseReasons(JSON.parse(data));
    this.data = data;
    this.module = module;
  }

  /** @throws BundleRefused with all that is wrong */
  static parse(files: BundleFiles): Bundle {
    const problems: string[] = [];
    const codes: BundleRefusalCode[] = [];
    const attempt = <T>(code: BundleRefusalCode, name: string, step: () => T): T | undefined => {
      try {
        return step();
      } catch (thrown) {
        codes.push(thrown instanceof BundleFault ? thrown.code : code);
        problems.push(`policy bundle, ${name}: ${describe(thrown)}`);
        return undefined;
      }
    };
    const refused = (): BundleRefused => new BundleRefused(codes[0] ?? 'bundle.manifest', problems);
    const manifest = attempt('bundle.manifest', 'manifest.json', () => parseManifest(files.manifest));
    if (manifest !== undefined) {
      // Before anything is compiled: only bytes the manifest names are looked at further.
      const mismatch = 'bundle.digest_mismatch';
      attempt(mismatch, 'policy.wasm', () => requireDigest(files.wasm, manifest.files['policy.wasm']));
      attempt(mismatch, 'data.json', () => requireDigest(files.data, manifest.files['data.json']));
    }
    if (manifest === undefined || problems.length > 0) throw refused();
    const module = attempt('bundle.module', 'policy.wasm', () => checkModule(files.wasm));
    const bundle = attempt('bundle.data', 'data.json', () => {
      const data = parseData(files.data);
      return module && new Bundle(manifest, base64url(sha256(files.manifest)), data, module);
    });
    if (bundle === undefined) throw refused();
    return bundle;
  }
}

interface Manifest {
  readonly entrypoint: string;
  readonly opa: string;
  readonly files: { readonly 'data.json': string; readonly 'policy.wasm': string };
  readonly sources: Readonly<Record<string, string>>;
}

function parseManifest(bytes: Uint8Array): Manifest {
  const raw = parseJson(bytes);
  if (!hasExactly(raw, MEMBERS)) throw new Error(`members are not ${MEMBERS.join(', ')}`);
  const { format, entrypoint, opa, files, sources } = raw;
  if (format !== FORMAT) throw new Error(`format is not ${FORMAT}`);
  if (typeof entrypoint !== 'string' || !/^[a-z_]+(?:\/[a-z_]+)+$/.test(entrypoint))
    throw new Error('entrypoint');
  if (typeof opa !== 'string' || !/^\d+\.\d+\.\d+$/.test(opa)) throw new Error('opa is not a version');
  const { 'data.json': data, 'policy.wasm': wasm, ...others } = digests(files, 'files');
  if (data === undefined || wasm === undefined || Object.keys(others).length > 0) {
    throw new Error('files are not exactly data.json and policy.wasm');
  }
  return {
    entrypoint,
    opa,
    files: { 'data.json': data, 'policy.wasm': wasm },
    sources: digests(sources, 'sources'),
  };
}

function digests(raw: unknown, what: string): Readonly<Record<string, string>> {
  if (!isObject(raw)) throw new Error(`${what} is not an object`);
  return Object.fromEntries(
    Object.entries(raw).map(([path, digest]) => {
      if (typeof digest !== 'string' || !SHA256.test(digest))
        throw new Error(`${what}: no SHA-256 in hexadecimal`);
      return [path, digest];
    }),
  );
}

function requireDigest(bytes: Uint8Array, wanted: string): void {
  if (sha256(bytes).toString('hex') !== wanted) throw new Error('is not the file the manifest names');
}

function parseData(bytes: Uint8Array): string {
  if (bytes.length > MAX_DATA_BYTES) throw new Error(`is larger than ${MAX_DATA_BYTES} bytes`);
  return JSON.stringify(parseJson(bytes));
}

function parseReasons(data: unknown): ReadonlyMap<string, ReasonTexts> {
  const reasons = isObject(data) ? data['reasons'] : undefined;
  if (!isObject(reasons)) throw new Error('reasons is not an object');
  return new Map(
    Object.entries(reasons).map(([code, texts]) => {
      if (!/^[a-z]+\.[a-z_]+$/.test(code) || !isObject(texts)) throw new Error('a reason is malformed');
      const { en, 'zh-TW': zh } = texts;
      if (typeof en !== 'string' || typeof zh !== 'string') throw new Error(`reason ${code} lacks a text`);
      return [code, { en, zh }];
    }),
  );
}

function parseJson(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  if (!isObject(value)) throw new Error('is not a JSON object');
  return value;
}
