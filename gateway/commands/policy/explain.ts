import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import type { RecordedDecision } from '../../author/recorded.ts';
import { ConfigError } from '../../core/errors.ts';
import { bundleDir } from '../../sandbox/bundle.ts';
import { json as jsonOf, readInput } from '../input.ts';
import { placesOfBundles } from './places.ts';
import { exitOf, printReport } from './report.ts';

interface ExplainFlags {
  readonly log: readonly string[];
  readonly policy?: string;
  readonly bundles?: readonly string[];
  readonly sources?: string;
  readonly json?: true;
}

/** Decisions that are listed where one had to be named. */
const MAX_LISTED = 20;

/** `troad policy eval` and `troad policy explain`: one decision, and why. */
export function registerExplain(policy: Command): void {
  policy
    .command('eval')
    .description('decide one input  評估單筆輸入')
    .argument('<input>', 'JSON file of an input document')
    .option('--policy <bundle>', 'folder of a bundle; the one installed is the default')
    .option('--json', 'the whole report for programs')
    .action(async (file: string, { policy: folder, json }: { policy?: string; json?: true }) => {
      const { bundle, explain, installed } = await tools(folder);
      const { renderOutcome } = await import('../../author/render-explain.ts');
      const bytes = await inputAt(file);
      const used = bundle ?? (await installed());
      // Without a schema nothing but the outcome is worth the search.
      const report = explain(used, bytes, undefined);
      printReport(report, json, renderOutcome);
      process.exitCode = exitOf(report.outcome.digest !== undefined);
    });
  policy
    .command('explain')
    .description('tell why a recorded decision was made, and what would have changed it  說明決定')
    .argument('<record>', 'exchange id, X-Road-Id, or index of the record')
    .requiredOption('--log <dir...>', 'folders of logs, with the keys of sealed parts')
    .option('--policy <bundle>', 'explain with this bundle instead of the one that decided')
    .option(
      '--bundles <dir...>',
      'stores and folders of the bundles that decided; known are those installed, and stores beside the logs',
    )
    .option(
      '--sources <dir>',
      'folder of the sources of the bundle, to tell its rules; those of the policies that come with the program are known',
    )
    .option('--json', 'the whole report for programs')
    .action(async (id: string, flags: ExplainFlags) => {
      const { bundle, explain, shelf } = await tools(
        flags.policy,
        placesOfBundles(flags.bundles ?? [], flags.log),
      );
      const { renderExplain } = await import('../../author/render-explain.ts');
      const { toldBySources } = await import('./told-by-sources.ts');
      const { policy: cited, input } = await findRecord(id, flags.log);
      if (input === 'sealed')
        throw new ConfigError([`${id}: its input is sealed, and the key is not in the log's folder`]);
      const used = bundle ?? (await shelf.find(cited.b));
      if (used === undefined)
        throw new ConfigError([`bundle ${cited.b} was not found: looked for it in ${shelf.places}`]);
      const told = await toldBySources(used, input, flags.sources);
      printReport(explain(used, input, schemaAt(flags.sources), told), flags.json, renderExplain);
    });
}

/** @throws ConfigError what is in the file asks nothing */
async function inputAt(path: string): Promise<Buffer> {
  const { canonicalJson, isObject } = await import('../../trust/canonical.ts');
  return readInput('', path, (content) => {
    const input = jsonOf(content);
    const text = canonicalJson(input);
    if (!isObject(input) || typeof input['decision_id'] !== 'string' || input['decision_id'] === '')
      throw new ConfigError([
        'is no input document: expected an object with a text "decision_id", which the decision repeats (docs/policy-input.md)',
      ]);
    return Buffer.from(text);
  });
}

async function tools(folder: string | undefined, places: readonly string[] = []) {
  const [{ explain }, { BundleShelf, readBundle }, { nodeStorage }] = await Promise.all([
    import('../../author/explain.ts'),
    import('../../author/bundles.ts'),
    import('../../evidence/node-storage.ts'),
  ]);
  const storage = nodeStorage();
  return {
    explain,
    bundle: folder === undefined ? undefined : await readBundle(storage, folder),
    installed: () => readBundle(storage, bundleDir()),
    shelf: new BundleShelf(storage, places),
  };
}

/** @throws ConfigError none, or more than one gateway's */
async function findRecord(id: string, logs: readonly string[]): Promise<RecordedDecision> {
  const [{ forEachDecision }, { exchangeIdOf, timeText }, { nodeStorage }] = await Promise.all([
    import('../../author/recorded.ts'),
    import('../../audit/records.ts'),
    import('../../evidence/node-storage.ts'),
  ]);
  const exchange = exchangeIdOf(id);
  const found: RecordedDecision[] = [];
  await forEachDecision(nodeStorage(), logs, {
    decision: (each) => {
      const { record, index } = each;
      if (record.x === exchange || record.xid === id || String(index) === id) found.push(each);
    },
    bad: () => undefined, // `troad policy replay` tells of it
  });
  const [first, ...more] = found;
  if (first === undefined) throw new ConfigError([`${id}: no recorded decision in ${logs.join(', ')}`]);
  if (more.length > 0) {
    // Both gateways' of one exchange, or one that was decided again while it ran.
    const rows = found.slice(0, MAX_LISTED).map(({ log, index, record, word }) => {
      return `record ${index} of ${log}: ${timeText(record.at)} ${record.k} ${word}`;
    });
    throw new ConfigError([
      `${id}: ${found.length} decisions; give one log and the index of a record:`,
      ...rows,
    ]);
  }
  return first;
}

/** Schema of the input, beside the sources, or beside the bundle that is installed. */
function schemaAt(sources: string | undefined): unknown {
  const files = [...(sources === undefined ? [] : [sources]), dirname(bundleDir())].map((dir) =>
    join(dir, 'schemas', 'input.json'),
  );
  const file = files.find((each) => existsSync(each));
  return file === undefined ? undefined : (JSON.parse(readFileSync(file, 'utf8')) as unknown);
}
