import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withRules, type RunOpa } from '../../author/rego.ts';
import { parseVectors, type GoldenVector } from '../../author/vectors.ts';
import { ConfigError } from '../../core/errors.ts';
import { inWords } from '../../core/file-errors.ts';
import { Opa, OpaFailed } from './opa.ts';

/** A folder of policy sources: Rego in folders of its own, `data/NAME.json`, `schemas/`, `vectors/`. */
export class SourceFolder {
  readonly dir: string;

  /** @throws ConfigError it holds no Rego */
  constructor(dir: string) {
    this.dir = dir;
    if (this.rego.length === 0) throw new ConfigError([`${dir}: holds no folder of Rego sources`]);
  }

  /** Folders with Rego in them. */
  get rego(): string[] {
    if (!existsSync(this.dir)) return [];
    return readdirSync(this.dir, { withFileTypes: true })
      .filter(
        (entry) => entry.isDirectory() && this.#names(entry.name).some((name) => name.endsWith('.rego')),
      )
      .map(({ name }) => name)
      .toSorted();
  }

  /** Rego files. */
  get files(): string[] {
    return this.rego.flatMap((folder) =>
      this.#names(folder)
        .filter((name) => name.endsWith('.rego'))
        .map((name) => `${folder}/${name}`),
    );
  }

  /** What can be evaluated: the folders, and data under the name the policy knows it by. */
  get sources(): string[] {
    const data = this.#names('data').filter((name) => name.endsWith('.json'));
    return [...this.rego, ...data.map((name) => `${name.slice(0, -5)}:data/${name}`)];
  }

  get check(): string[] {
    return [...(existsSync(join(this.dir, 'schemas')) ? ['--schema', 'schemas'] : []), ...this.rego];
  }

  read(file: string): string {
    return readFileSync(join(this.dir, file), 'utf8');
  }

  /** @throws ConfigError naming the file */
  json(file: string): unknown {
    try {
      return JSON.parse(this.read(file));
    } catch (cause) {
      throw new ConfigError([`${join(this.dir, file)}: ${inWords(cause)}`]);
    }
  }

  vectors(): GoldenVector[] {
    const files = this.#names('vectors').filter((name) => name.endsWith('.json'));
    return files.flatMap((name) => parseVectors(`vectors/${name}`, this.read(`vectors/${name}`)));
  }

  #names(folder: string): string[] {
    const path = join(this.dir, folder);
    return existsSync(path) ? readdirSync(path).toSorted() : [];
  }
}

/**
 * Runs `opa`, whatever its version, in a folder of sources.
 * @throws ConfigError saying what to install; the runs throw what the compiler said, with the rule
 */
export function opaIn(dir: string): RunOpa {
  const failing = (thrown: unknown): never => {
    if (!(thrown instanceof OpaFailed)) throw thrown;
    const said = withRules(thrown.message, (file) => readFileSync(join(dir, file), 'utf8'));
    throw new ConfigError([said]);
  };
  let opa: Opa;
  try {
    opa = Opa.find(dir, {});
  } catch (thrown) {
    return failing(thrown);
  }
  return (args) => {
    try {
      return opa.run(args);
    } catch (thrown) {
      // A test that fails is a report; without a report something else is wrong.
      const { stdout } = thrown instanceof OpaFailed ? thrown : { stdout: '' };
      return args[0] === 'test' && stdout.trim().startsWith('[') ? stdout : failing(thrown);
    }
  };
}
