import type { ReadStorage } from '../audit/folder.ts';
import { utf8 } from '../core/bytes.ts';
import { canonicalJson } from '../trust/canonical.ts';
import type { Bundle } from '../trust/bundle.ts';
import { PolicyEngine } from '../trust/engine.ts';
import type { Change } from './changes.ts';
import { Flips, type FlipGroup } from './flips.ts';
import { decideAgain } from './outcome.ts';
import { places } from './pointer.ts';
import { forEachDecision } from './recorded.ts';
import { renderFlips } from './render-replay.ts';
import type { GoldenVector } from './vectors.ts';

export interface DiffReport {
  readonly result: 'same' | 'different';
  readonly bundles: readonly [string, string];
  /** Files of the sources, rules among them. */
  readonly sources: readonly { readonly path: string; readonly change: 'added' | 'removed' | 'changed' }[];
  /** Values of the data document; null where there is none. */
  readonly data: readonly Change[];
  readonly inputs: number;
  readonly flips: readonly FlipGroup<string>[];
  readonly flipped: number;
}

export interface DiffInputs {
  readonly storage: ReadStorage;
  readonly vectors: readonly GoldenVector[];
  readonly logs: readonly string[];
}

/** What changed between two bundles, and what that does to the outcomes of vectors and of recorded inputs. */
export async function diffBundles(a: Bundle, b: Bundle, inputs: DiffInputs): Promise<DiffReport> {
  const flips = new Flips<string>();
  const [before, after] = [PolicyEngine.load(a), PolicyEngine.load(b)];
  let count = 0;
  const compare = (bytes: Uint8Array, name: () => string): void => {
    count += 1;
    const [from, to] = [decideAgain(before, bytes), decideAgain(after, bytes)];
    if (from.word !== to.word || String(from.reasons) !== String(to.reasons)) flips.add(from, to, name);
  };
  for (const { file, name, input } of inputs.vectors)
    compare(utf8(canonicalJson(input)), () => `${file}: ${name}`);
  await forEachDecision(inputs.storage, inputs.logs, {
    decision: ({ input, record, index }) => {
      if (input !== 'sealed') compare(input, () => `exchange ${record.x}, record ${index}`);
    },
    bad: () => undefined, // `troad policy replay` tells of it
  });
  const paths = [...new Set([...Object.keys(a.sources), ...Object.keys(b.sources)])].toSorted();
  const sources = paths
    .filter((path) => a.sources[path] !== b.sources[path])
    .map((path) => ({ path, change: changeOf(a.sources[path], b.sources[path]) }));
  return {
    result: a.digest === b.digest ? 'same' : 'different',
    bundles: [a.digest, b.digest],
    sources,
    data: dataChanges(JSON.parse(a.data), JSON.parse(b.data)),
    inputs: count,
    flips: flips.groups(),
    flipped: flips.count,
  };
}

const changeOf = (a: string | undefined, b: string | undefined): 'added' | 'removed' | 'changed' =>
  a === undefined ? 'added' : b === undefined ? 'removed' : 'changed';

function dataChanges(a: unknown, b: unknown): Change[] {
  const leaves = (value: unknown): Map<string, unknown> =>
    new Map([...places(value)].filter(([, each]) => typeof each !== 'object' || each === null));
  const [before, after] = [leaves(a), leaves(b)];
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((pointer) => before.get(pointer) !== after.get(pointer))
    .map((pointer) => ({ pointer, from: before.get(pointer) ?? null, to: after.get(pointer) ?? null }));
}

export function renderDiff({ result, bundles, sources, data, inputs, flips, flipped }: DiffReport): string {
  const lines = [`${bundles[0]} → ${bundles[1]}`, '', 'Sources  原始碼'];
  lines.push(...sources.map(({ path, change }) => `  ${change.padEnd(8)} ${path}`), 'Data  資料');
  lines.push(
    ...data.map(({ pointer, from, to }) => `  ${pointer}: ${JSON.stringify(from)} → ${JSON.stringify(to)}`),
  );
  lines.push(`Outcomes  結果: ${flipped} of ${inputs} inputs come out otherwise`);
  lines.push(...renderFlips(flips, (example) => example), '');
  lines.push(result === 'same' ? 'SAME bundle.  相同' : 'DIFFERENT bundles.  不同');
  return `${lines.join('\n')}\n`;
}
