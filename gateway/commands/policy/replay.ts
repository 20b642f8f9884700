import type { Command } from 'commander';
import { printReport, exitOf } from './report.ts';

interface ReplayFlags {
  readonly log: readonly string[];
  readonly policy?: string;
  readonly bundles?: readonly string[];
  readonly json?: true;
}

/** `troad policy replay`: the decisions of logs again. Exit status 0 only when each came out the same. */
export function registerReplay(policy: Command): void {
  policy
    .command('replay')
    .description('make the decisions of logs again  重播決定')
    .requiredOption('--log <dir...>', 'folders of logs, with the keys of sealed parts')
    .option('--policy <bundle>', 'decide with this bundle instead, and tell what flips')
    .option(
      '--bundles <dir...>',
      'stores and folders of the bundles that decided; known are those installed, and stores beside the logs',
    )
    .option('--json', 'the whole report for programs')
    .action(async ({ log, policy: folder, bundles = [], json }: ReplayFlags) => {
      const [
        { replayLogs },
        { renderReplay },
        { BundleShelf, readBundle },
        { nodeStorage },
        { placesOfBundles },
      ] = await Promise.all([
        import('../../author/replay.ts'),
        import('../../author/render-replay.ts'),
        import('../../author/bundles.ts'),
        import('../../evidence/node-storage.ts'),
        import('./places.ts'),
      ]);
      const storage = nodeStorage();
      const report = await replayLogs({
        storage,
        logs: log,
        shelf: new BundleShelf(storage, placesOfBundles(bundles, log)),
        ...(folder === undefined ? {} : { policy: await readBundle(storage, folder) }),
      });
      printReport(report, json, renderReplay);
      process.exitCode = exitOf(report.result === 'identical');
    });
}
