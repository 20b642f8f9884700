import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { isObject } from '../../trust/canonical.ts';
import { exitOf, printReport } from './report.ts';

/** `troad policy test`: what must hold before a policy is built. */
export function registerTest(policy: Command): void {
  policy
    .command('test')
    .description('test policy sources: strict check, tests, coverage, golden vectors  測試政策')
    .argument('[folder]', 'folder of the sources', 'policies')
    .option('--entrypoint <path>', 'rule that gateways ask', 'troad/exchange/decision')
    .option('--json', 'the whole report for programs')
    .action(async (folder: string, { entrypoint, json }: { entrypoint: string; json?: true }) => {
      const [{ testPolicy, renderPolicyTest }, { opaIn, SourceFolder }, { withSources }] = await Promise.all([
        import('../../author/policy-test.ts'),
        import('./sources.ts'),
        import('./staged.ts'),
      ]);
      await withSources(folder, ({ dir, own }) => {
        const sources = new SourceFolder(dir);
        const reasons = sources.json('data/reasons.json');
        const scratch = mkdtempSync(join(tmpdir(), 'troad-policy-test-'));
        try {
          const report = testPolicy({
            run: opaIn(dir),
            read: (file) => sources.read(file),
            sources: sources.sources,
            own: own ?? sources.files,
            whole: own === undefined,
            check: sources.check,
            entrypoint,
            reasons: new Map(Object.entries(isObject(reasons) ? reasons : {})),
            vectors: sources.vectors(),
            keep: (inputs) => {
              const file = join(scratch, 'inputs.json');
              writeFileSync(file, JSON.stringify({ inputs }));
              return file;
            },
          });
          printReport(report, json, renderPolicyTest);
          process.exitCode = exitOf(report.result === 'good');
        } finally {
          rmSync(scratch, { recursive: true, force: true });
        }
      });
    });
}
