import { ConfigError, describe } from '../core/errors.ts';
import { Bundle } from '../trust/bundle.ts';
import type { ReadStorage } from '../audit/folder.ts';

/** Reads the bundle in a folder. @throws ConfigError naming the file */
export async function readBundle(storage: ReadStorage, folder: string): Promise<Bundle> {
  const read = async (name: string): Promise<Buffer> => {
    let bytes: Buffer | undefined;
    try {
      bytes = await storage.readFile(`${folder}/${name}`);
    } catch (cause) {
      throw new ConfigError([`policy bundle ${folder}/${name}: ${describe(cause)}`]);
    }
    if (bytes === undefined) throw new ConfigError([`policy bundle ${folder}/${name}: is not there`]);
    return bytes;
  };
  const [manifest, wasm, data] = await Promise.all(['manifest.json', 'policy.wasm', 'data.json'].map(read));
  if (manifest === undefined || wasm === undefined || data === undefined) throw new Error('three were read');
  try {
    return Bundle.parse({ manifest, wasm, data });
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    throw new ConfigError(cause.problems.map((problem) => `${folder}: ${problem}`));
  }
}

/** Bundles by digest: out of stores, where each lies in a folder of its digest's name, and out of single folders. */
export class BundleShelf {
  readonly #storage: ReadStorage;
  readonly #stores: readonly string[];
  readonly #folders: readonly string[];
  readonly #known = new Map<string, Promise<Bundle | undefined>>();
  #single: Promise<ReadonlyMap<string, Bundle>> | undefined;

  constructor(storage: ReadStorage, stores: readonly string[], folders: readonly string[]) {
    this.#storage = storage;
    this.#stores = stores;
    this.#folders = folders;
  }

  /** Where it looks, for people. */
  places(digest: string): string[] {
    return [...this.#stores.map((store) => `${store}/${digest}`), ...this.#folders];
  }

  /**
   * @param digest of the manifest, base64url, as records cite it
   * @returns undefined when it is nowhere. @throws ConfigError when what lies there is broken
   */
  async find(digest: string): Promise<Bundle | undefined> {
    let found = this.#known.get(digest);
    if (found === undefined) this.#known.set(digest, (found = this.#look(digest)));
    return found;
  }

  async #look(digest: string): Promise<Bundle | undefined> {
    // Records are others' words: nothing but a digest becomes part of a path.
    if (!/^[A-Za-z0-9_-]{43}$/.test(digest)) return undefined;
    for (const store of this.#stores) {
      const names = await this.#storage.list(store).catch(() => []);
      if (!names.includes(digest)) continue;
      const bundle = await readBundle(this.#storage, `${store}/${digest}`);
      if (bundle.digest !== digest)
        throw new ConfigError([`${store}/${digest}: holds the bundle ${bundle.digest}`]);
      return bundle;
    }
    this.#single ??= this.#readFolders();
    return (await this.#single).get(digest);
  }

  async #readFolders(): Promise<ReadonlyMap<string, Bundle>> {
    const bundles = await Promise.all(this.#folders.map((folder) => readBundle(this.#storage, folder)));
    return new Map(bundles.map((bundle) => [bundle.digest, bundle]));
  }
}
