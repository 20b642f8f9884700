import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { ConfigError, describe, quoted } from '../../core/errors.ts';
import { naming } from '../../core/file-errors.ts';
import { bundleDir } from '../../sandbox/bundle.ts';
import { contentOf } from '../../node/named-file.ts';
import { parseDataFile } from './data-file.ts';
import { isObject } from '../../trust/canonical.ts';

/** A policy's sources, whole. */
export interface Staged {
  readonly dir: string;
  /** Rego files that are not the default policy's; undefined where nothing is included. */
  readonly own: readonly string[] | undefined;
}

/** A file of data. One that nobody adds to keeps its bytes. */
interface Document {
  readonly text: string;
  readonly value: unknown;
  readonly from: string;
}

const REGO = ['agency', 'troad'];

/** What is compiled, tested or judged by: folder, and how its files end. */
const PARTS: readonly (readonly [folder: string, ending: string])[] = [
  ...REGO.map((part) => [part, '.rego'] as const),
  ['schemas', '.json'],
  ['vectors', '.json'],
];

/**
 * Sources of a policy in one folder. A folder with a `policy.json` includes others, `{"include": ["default", "../x"]}`,
 * where `default` is the policy that comes with the program: then they are put together in a folder of their own, which
 * is gone afterwards. Rules and vectors are gathered, `data/NAME.json` of the same name are merged.
 * @param defaults folder of the default policy's sources
 * @throws ConfigError naming the file
 */
export async function withSources<T>(
  dir: string,
  use: (staged: Staged) => Promise<T> | T,
  defaults = dirname(bundleDir()),
): Promise<T> {
  naming(dir, () => readdirSync(dir)); // there is no such folder, or it is a file
  if (!existsSync(join(dir, 'policy.json'))) return use({ dir: resolve(dir), own: undefined });
  const stage = mkdtempSync(join(tmpdir(), 'troad-sources-'));
  try {
    const data = new Map<string, Document>();
    const folders = included(resolve(dir), defaults);
    for (const folder of folders) gather(folder, stage, data);
    if (data.size > 0) mkdirSync(join(stage, 'data'));
    for (const [name, { text }] of data) writeFileSync(join(stage, 'data', name), text);
    const own = folders
      .filter((folder) => folder !== defaults)
      .flatMap((folder) => REGO.flatMap((part) => inside(folder, part, '.rego')));
    return await use({ dir: stage, own });
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** The folder and all it includes, what is included first; each once. */
function included(dir: string, defaults: string, seen: string[] = [], way: readonly string[] = []): string[] {
  if (seen.includes(dir)) return seen;
  if (way.includes(dir)) throw new ConfigError([`${dir}/policy.json: includes itself`]);
  if (!existsSync(dir)) throw new ConfigError([`${way.at(-1) ?? dir}/policy.json: there is no ${dir}`]);
  for (const name of includesOf(dir))
    included(name === 'default' ? defaults : resolve(dir, name), defaults, seen, [...way, dir]);
  seen.push(dir);
  return seen;
}

function includesOf(dir: string): readonly string[] {
  const file = join(dir, 'policy.json');
  if (!existsSync(file)) return [];
  let value: unknown;
  try {
    value = JSON.parse(contentOf(file).toString('utf8'));
  } catch (cause) {
    throw new ConfigError([`${file}: ${describe(cause)}`]);
  }
  const names: unknown = isObject(value) && Object.keys(value).join() === 'include' ? value['include'] : null;
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string'))
    throw new ConfigError([
      `${file}: expected {"include": ["default", "../another-folder"]} and nothing else`,
    ]);
  return names;
}

/** In a fixed order: the file system promises none. */
const inside = (dir: string, part: string, ending: string): string[] =>
  existsSync(join(dir, part))
    ? readdirSync(join(dir, part))
        .filter((name) => name.endsWith(ending))
        .toSorted()
        .map((name) => `${part}/${name}`)
    : [];

function gather(from: string, stage: string, data: Map<string, Document>): void {
  for (const [part, ending] of PARTS) {
    for (const path of inside(from, part, ending)) {
      const to = join(stage, path);
      if (existsSync(to)) throw new ConfigError([`${join(from, path)}: an included folder has ${path} too`]);
      mkdirSync(dirname(to), { recursive: true });
      copyFileSync(join(from, path), to);
    }
  }
  for (const path of inside(from, 'data', '.json')) {
    const name = path.slice('data/'.length);
    const file = join(from, path);
    let { text, value } = parseDataFile(file, readFileSync(file));
    const before = data.get(name);
    if (before !== undefined) {
      value = merged(before.value, value, `${file} and ${before.from}`, '');
      text = `${JSON.stringify(value, null, 2)}\n`;
    }
    data.set(name, { text, value, from: file });
  }
  // Which compiler (`go tool opa`), and what it lets pass.
  for (const name of ['go.mod', 'go.sum', 'capabilities.json'])
    if (existsSync(join(from, name)) && !existsSync(join(stage, name)))
      copyFileSync(join(from, name), join(stage, name));
}

/** @throws ConfigError where both say something: which of them counts is not for an order of files to decide */
function merged(one: unknown, other: unknown, files: string, at: string): unknown {
  if (!isObject(one) || !isObject(other))
    throw new ConfigError([`${files}: both have ${at === '' ? 'a value' : quoted(at)}`]);
  const all = new Map(Object.entries(one));
  for (const [name, value] of Object.entries(other))
    all.set(name, all.has(name) ? merged(all.get(name), value, files, `${at}/${name}`) : value);
  return Object.fromEntries(all);
}
