import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { withRules, type RunOpa } from '../../author/rego.ts';
import { parseVectors, type GoldenVector } from '../../author/vectors.ts';
import { ConfigError, describe } from '../../core/errors.ts';
import { bundleDir } from '../../sandbox/bundle.ts';

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
      throw new ConfigError([`${join(this.dir, file)}: ${describe(cause)}`]);
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
 * `opa` on the PATH, or the Go tool that a `go.mod` names: the folder's own, or that of the policy that comes with the
 * program.
 * @throws ConfigError saying what to install
 */
export function findOpa(dir: string): RunOpa {
  const env = { ...process.env, GOTOOLCHAIN: process.env['GOTOOLCHAIN'] ?? 'local' };
  const spawn = (program: string, args: readonly string[], cwd = dir) =>
    spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 28, env });
  const goTool = (cwd: string): string => spawn('go', ['tool', '-n', 'opa'], cwd).stdout?.trim() ?? '';
  const program = ['opa', () => goTool(dir), () => goTool(dirname(bundleDir()))]
    .map((each) => (typeof each === 'string' ? each : each()))
    .find((each) => each !== '' && spawn(each, ['version']).status === 0);
  if (program === undefined) {
    throw new ConfigError([
      'opa was not found: put it on the PATH (https://www.openpolicyagent.org/docs/#running-opa), or install Go',
    ]);
  }
  return (args) => {
    const { stdout, stderr, status } = spawn(program, args);
    // `opa test` exits with 2 and a report when a test fails; without a report something else is wrong.
    if (status === 0 || (args[0] === 'test' && stdout.trim().startsWith('['))) return stdout;
    const said = withRules((stdout + stderr).trim(), (file) => readFileSync(join(dir, file), 'utf8'));
    throw new ConfigError([`opa ${args.slice(0, 2).join(' ')}: ${said}`]);
  };
}
