import type { Command } from 'commander';
import { bytes, readInput } from '../input.ts';
import { exitOf, printReport } from './report.ts';

interface DiffFlags {
  readonly vectors?: readonly string[];
  readonly log?: readonly string[];
  readonly json?: true;
}

/** `troad policy diff`: what changed between two bundles, and what that does. Exit status 1 when outcomes differ. */
export function registerDiff(policy: Command): void {
  policy
    .command('diff')
    .description('compare two bundles: sources, data, outcomes  比較兩個政策包')
    .argument('<a>', 'folder of a bundle')
    .argument('<b>', 'folder of another')
    .option('--vectors <file...>', 'golden vectors to decide with both')
    .option('--log <dir...>', 'logs whose inputs to decide with both')
    .option('--json', 'the whole report for programs')
    .action(async (a: string, b: string, { vectors = [], log = [], json }: DiffFlags) => {
      const [{ diffBundles, renderDiff }, { readBundle }, { parseVectors }, { nodeStorage }] =
        await Promise.all([
          import('../../author/diff.ts'),
          import('../../author/bundles.ts'),
          import('../../author/vectors.ts'),
          import('../../evidence/node-storage.ts'),
        ]);
      const storage = nodeStorage();
      const [before, after] = await Promise.all([readBundle(storage, a), readBundle(storage, b)]);
      const report = await diffBundles(before, after, {
        storage,
        vectors: vectors.flatMap((file) =>
          parseVectors(file, readInput('--vectors', file, bytes).toString('utf8')),
        ),
        logs: log,
      });
      printReport(report, json, renderDiff);
      process.exitCode = exitOf(report.flipped === 0);
    });
}
