import { ConfigError } from '../core/errors.ts';
import { inWords } from '../core/file-errors.ts';
import { Bundle } from '../trust/bundle.ts';
import type { ReadStorage } from '../audit/folder.ts';

/** Reads the bundle in a folder. @throws ConfigError naming the file */
export async function readBundle(storage: ReadStorage, folder: string): Promise<Bundle> {
  const read = async (name: string): Promise<Buffer> => {
    let bytes: Buffer | undefined;
    try {
      bytes = await storage.readFile(`${folder}/${name}`);
    } catch (cause) {
      throw new ConfigError([`policy bundle ${folder}/${name}: ${inWords(cause)}`]);
    }
    if (bytes === undefined) throw new ConfigError([`policy bundle ${folder}/${name}: is not there`]);
    return bytes;
  };
  // One after the other: of several that are missing, the same is named every time.
  const files = {
    manifest: await read('manifest.json'),
    wasm: await read('policy.wasm'),
    data: await read('data.json'),
  };
  try {
    return Bundle.parse(files);
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    throw new ConfigError(cause.problems.map((problem) => `${folder}: ${problem}`));
  }
}

/** Bundles by digest, out of stores (a folder for each digest, of its name) and out of single bundles' folders. */
export class BundleShelf {
  readonly #storage: ReadStorage;
  readonly #places: readonly string[];
  readonly #known = new Map<string, Promise<Bundle | undefined>>();

  constructor(storage: ReadStorage, places: readonly string[]) {
    this.#storage = storage;
    this.#places = places;
  }

  /** Where it looks, for people. */
  get places(): string {
    return this.#places.join(', ') || 'no place';
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
    for (const place of this.#places) {
      const names: readonly string[] = await this.#storage.list(place).catch(() => []);
      const single = names.includes('manifest.json');
      if (!single && !names.includes(digest)) continue;
      const bundle = await readBundle(this.#storage, single ? place : `${place}/${digest}`);
      if (bundle.digest === digest) return bundle;
      if (!single) throw new ConfigError([`${place}/${digest}: holds the bundle ${bundle.digest}`]);
    }
    return undefined;
  }
}
