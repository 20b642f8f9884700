import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { base64url, sha256 } from '../core/bytes.ts';
import type { EpochMs } from '../core/clock.ts';
import { ConfigError, describe } from '../core/errors.ts';
import { makeFolder } from '../evidence/make-folder.ts';
import type { BundleFiles } from '../trust/bundle.ts';
import { BundleRefused, type BundleRefusalCode } from '../trust/bundle-refused.ts';
import { hasExactly, isObject } from '../trust/canonical.ts';
import { readBundle } from './bundle-folder.ts';

// <store>/<digest>/{manifest.json,policy.wasm,data.json,release.json}   every bundle that ever decided here
// <store>/state.json      what is in force, written by the gateway alone
// <store>/request.json    what an operator wants, and
// <store>/incoming/<id>/  the bundle it is about, written by `troad policy activate`

/** What an operator asks of the gateway. */
export interface PolicyRequest {
  /** Names the request, so that its outcome is recognised. */
  readonly id: string;
  /** `shadow`, `unshadow`: evaluate beside the one in force, or no longer. `lift`: let a quarantined one be activated. */
  readonly action: 'activate' | 'shadow' | 'unshadow' | 'lift';
  /** Digest, for `unshadow` and `lift`; the others have a folder below `incoming`. */
  readonly bundle: string | null;
}

/** What became of a request. */
export interface PolicyOutcome {
  readonly id: string;
  readonly at: EpochMs;
  /** Null: it was done. */
  readonly code: BundleRefusalCode | 'request.malformed' | null;
  readonly detail: string;
  /** Longest time that any worker decided nothing because of the change, milliseconds. */
  readonly pauseMs: number;
}

export interface Quarantined {
  readonly bundle: string;
  readonly at: EpochMs;
  readonly why: string;
}

export interface StoreState {
  /** Digest of the bundle in force. */
  readonly active: string | null;
  /** Highest version that has ever been in force: what is older is refused. */
  readonly version: number;
  /** Digest of the bundle that had it. */
  readonly newest: string | null;
  /** What the folder of `policy.bundle` held when it was last looked at: digest and version. */
  readonly folder: string | null;
  /** Digests that were in force before, oldest first: where the gateway returns to. */
  readonly history: readonly string[];
  readonly quarantined: readonly Quarantined[];
  /** Digests that are evaluated beside it, beyond those the configuration names. */
  readonly shadow: readonly string[];
  readonly outcome: PolicyOutcome | null;
}

const FORMAT = 'troad-policy-store-v1';
const EMPTY: StoreState = {
  active: null,
  version: 0,
  newest: null,
  folder: null,
  history: [],
  quarantined: [],
  shadow: [],
  outcome: null,
};
const MEMBERS = ['format', ...Object.keys(EMPTY)];
/** More predecessors than anybody returns over. */
const HISTORY = 32;

/** The gateway's folder of policy bundles, by digest. Nothing is removed from it: records cite bundles by digest. */
export class PolicyStore {
  readonly dir: string;
  #state: StoreState;

  private constructor(dir: string, state: StoreState) {
    this.dir = dir;
    this.#state = state;
  }

  /** @throws ConfigError when its state cannot be read: what must not come back would be forgotten */
  static open(dir: string): PolicyStore {
    makeFolder(join(dir, 'incoming'));
    return new PolicyStore(dir, readState(dir) ?? EMPTY);
  }

  get state(): StoreState {
    return this.#state;
  }

  /** Durable when it returns. */
  update(change: Partial<StoreState>): void {
    const next = { ...this.#state, ...change };
    this.#state = { ...next, history: next.history.slice(-HISTORY) };
    writeDurably(this.dir, 'state.json', `${JSON.stringify({ format: FORMAT, ...this.#state }, null, 2)}\n`);
  }

  /**
   * Keeps a bundle that was verified. A later release of the same content replaces the release alone.
   * @param inForce it decides from now on; else a release that something in force may rest on stays
   */
  keep(digest: string, files: BundleFiles, inForce: boolean): void {
    const dir = join(this.dir, digest);
    if (existsSync(dir)) {
      const { active, history } = this.#state;
      const free = inForce || !(digest === active || history.includes(digest));
      if (free && files.release !== undefined) writeDurably(dir, 'release.json', files.release);
      return;
    }
    const scratch = join(this.dir, 'incoming', `.${digest}`);
    rmSync(scratch, { recursive: true, force: true });
    writeBundle(scratch, files);
    renameSync(scratch, dir);
    syncFolder(this.dir);
  }

  has(digest: string): boolean {
    return existsSync(join(this.dir, digest));
  }

  /** @throws BundleRefused when it cannot be read, or is another one than its name says */
  read(digest: string): BundleFiles {
    const dir = join(this.dir, digest);
    const files = readBundle(dir);
    // Another one that was well released would be put in force past all that is remembered here.
    if (base64url(sha256(files.manifest)) !== digest)
      throw new BundleRefused('bundle.digest_mismatch', [`policy bundle, ${dir}: holds another bundle`]);
    return files;
  }

  /** The request that waits, if there is one that was not answered yet. */
  request(): PolicyRequest | 'malformed' | undefined {
    const raw = readJson(join(this.dir, 'request.json'));
    if (raw === undefined) return undefined;
    const request = requestOf(raw);
    if (request === undefined) return 'malformed';
    return request.id === this.#state.outcome?.id ? undefined : request;
  }

  /** The bundle a request brought. @throws BundleRefused */
  incoming({ id }: PolicyRequest): BundleFiles {
    return readBundle(join(this.dir, 'incoming', id));
  }

  /** Answers a request, and clears away what it brought. */
  settle(request: PolicyRequest | undefined, outcome: PolicyOutcome): void {
    this.update({ outcome });
    rmSync(join(this.dir, 'request.json'), { force: true });
    if (request !== undefined)
      rmSync(join(this.dir, 'incoming', request.id), { recursive: true, force: true });
  }
}

/** Hands a request, and the bundle it is about, to the gateway that runs on this store, or to the next one that does. */
export function submitRequest(dir: string, request: PolicyRequest, files?: BundleFiles): void {
  // A crash may lose it: then nobody was told that it was done.
  if (files !== undefined) writeBundle(join(dir, 'incoming', request.id), files, false);
  // The request last: a bundle without one is not looked at.
  writeDurably(dir, 'request.json', `${JSON.stringify(request)}\n`);
}

/** The state, as the gateway left it. @returns undefined where there is none yet. @throws ConfigError */
export function readState(dir: string): StoreState | undefined {
  const path = join(dir, 'state.json');
  const raw = readJson(path);
  if (raw === undefined) return undefined;
  if (isObject(raw) && raw['format'] === FORMAT && hasExactly(raw, MEMBERS)) {
    const { format: _, ...state } = raw;
    // Written by ourselves, in a folder that nobody else may write; a damaged file fails the line above.
    return state as unknown as StoreState;
  }
  throw new ConfigError([
    `${path} is not a state of this version; which policies were in force, or in quarantine, is not known. ` +
      'Restore it, or move the folder away to begin anew',
  ]);
}

/** Writes a new folder. A crash leaves it where nobody looks, or whole. */
export function writeBundle(
  dir: string,
  { manifest, wasm, data, release }: BundleFiles,
  durable = true,
): void {
  const write = (name: string, content: Uint8Array): void =>
    writeFileSync(join(dir, name), content, { mode: 0o600, flush: durable });
  makeFolder(dir);
  write('policy.wasm', wasm);
  write('data.json', data);
  if (release !== undefined) write('release.json', release);
  write('manifest.json', manifest);
  if (durable) syncFolder(dir);
}

/** Replaces a file in one step: whoever reads it finds the old bytes or the new. */
export function writeDurably(dir: string, name: string, content: Uint8Array | string): void {
  const next = join(dir, `.${name}.new`);
  writeSynced(next, content);
  renameSync(next, join(dir, name));
  syncFolder(dir);
}

function writeSynced(path: string, content: Uint8Array | string): void {
  writeFileSync(path, content, { mode: 0o600, flush: true });
}

function syncFolder(dir: string): void {
  const folder = openSync(dir, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return undefined;
    throw new ConfigError([describe(thrown)]);
  }
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const ACTIONS: readonly unknown[] = ['activate', 'shadow', 'unshadow', 'lift'];

function requestOf(raw: unknown): PolicyRequest | undefined {
  if (!isObject(raw) || !hasExactly(raw, ['action', 'bundle', 'id'])) return undefined;
  const { id, action, bundle } = raw;
  // The id becomes the name of a folder.
  if (typeof id !== 'string' || !/^[\w-]{1,43}$/.test(id) || !ACTIONS.includes(action)) return undefined;
  if (bundle !== null && (typeof bundle !== 'string' || !/^[\w-]{43}$/.test(bundle))) return undefined;
  return { id, action: action as PolicyRequest['action'], bundle }; // one of ACTIONS
}
