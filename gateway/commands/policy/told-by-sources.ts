import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ToldBySources } from '../../author/explain.ts';
import { firedRules, type RunOpa } from '../../author/rego.ts';
import { SCORE_QUERY, scoreShares } from '../../author/score-shares.ts';
import { sha256 } from '../../core/bytes.ts';
import { ConfigError } from '../../core/errors.ts';
import { bundleDir } from '../../sandbox/bundle.ts';
import type { Bundle } from '../../trust/bundle.ts';
import { opaIn, SourceFolder } from './sources.ts';
import { withSources } from './staged.ts';

/**
 * The rules that held for an input, and what its score is made of, from the sources of the bundle.
 * @param folder undefined: the sources that come with the program, if they are the bundle's and the compiler is here; else
 * nobody can tell, and undefined is returned
 * @throws ConfigError the folder has other sources: their rules would explain something else
 */
export async function toldBySources(
  bundle: Bundle,
  input: Uint8Array,
  folder: string | undefined,
): Promise<ToldBySources | undefined> {
  if (folder !== undefined) {
    return withSources(folder, ({ dir }) => {
      const others = othersIn(dir, bundle);
      if (others.length === 0) return fired(bundle, input, dir, opaIn(dir));
      throw new ConfigError(
        others.map((file) => `--sources ${join(folder, file)}: is not of bundle ${bundle.digest}`),
      );
    });
  }
  const policies = dirname(bundleDir());
  for (const shipped of [policies, join(policies, 'examples')]) {
    const told = await withSources(shipped, ({ dir }) =>
      othersIn(dir, bundle).length === 0 ? firedIfPossible(bundle, input, dir) : undefined,
    );
    if (told !== undefined) return told;
  }
  return undefined;
}

/** Sources that the bundle was made of and that are not the same here. */
const othersIn = (dir: string, { sources }: Bundle): string[] =>
  Object.entries(sources)
    .filter(([file, digest]) => {
      const path = join(dir, file);
      return !existsSync(path) || sha256(readFileSync(path)).toString('hex') !== digest;
    })
    .map(([file]) => file);

function firedIfPossible(bundle: Bundle, input: Uint8Array, dir: string): ToldBySources | undefined {
  let opa: RunOpa;
  try {
    opa = opaIn(dir);
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    return undefined; // no compiler: nobody asked for it by name
  }
  return fired(bundle, input, dir, opa);
}

function fired(bundle: Bundle, input: Uint8Array, dir: string, opa: RunOpa): ToldBySources {
  const sources = new SourceFolder(dir);
  const scratch = mkdtempSync(join(tmpdir(), 'troad-explain-'));
  try {
    const file = join(scratch, 'input.json');
    writeFileSync(file, input);
    const data = sources.sources.flatMap((each) => ['-d', each]);
    const query = `data.${bundle.entrypoint.replaceAll('/', '.')}`;
    const ask = (...what: readonly string[]): string =>
      opa(['eval', '-f', 'json', ...data, '-i', file, ...what]);
    const document: unknown = JSON.parse(Buffer.from(input).toString('utf8'));
    const levels = ask(SCORE_QUERY);
    return {
      rules: firedRules(ask('--explain=full', query), document, (path) => sources.read(path)),
      shares: (score) => scoreShares(levels, score),
    };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
