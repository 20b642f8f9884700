import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { ConfigError } from '../../core/errors.ts';
import { exitOf, printReport } from './report.ts';

interface BuildFlags {
  readonly out: string;
  readonly entrypoint?: string;
  readonly check: boolean;
  readonly json?: true;
}

/** `troad policy build DIR`: from Rego sources to a bundle that can be signed. */
export function registerBuild(policy: Command): void {
  policy
    .command('build')
    .description('check Rego sources and compile them into a bundle; needs the opa program  編譯政策')
    .argument('<sources>', 'folder with troad/*.rego, data/*.json and schemas/*.json, or with a policy.json')
    .requiredOption('--out <folder>', 'new folder for the bundle')
    .option('--entrypoint <path>', 'package and rule that decides (default: troad/exchange/decision)')
    .option('--no-check', 'compile only: no style, no types, no tests and their coverage')
    .option('--json', 'the whole report for programs')
    .action(async (sources: string, { out, entrypoint, check, json }: BuildFlags) => {
      const [
        { checkSources, compileBundle, requireRego },
        { OPA_VERSION, Opa, OpaFailed },
        { writeBundle },
        { Bundle },
        { probeBundle },
        { withSources },
        { withRules },
      ] = await Promise.all([
        import('./compile.ts'),
        import('./opa.ts'),
        import('../../node/policy-store.ts'),
        import('../../trust/bundle.ts'),
        import('../../node/bundle-thread.ts'),
        import('./staged.ts'),
        import('../../author/rego.ts'),
      ]);
      if (existsSync(out))
        throw new ConfigError([`--out ${out} is there already: a bundle is never changed`]);
      await withSources(sources, async ({ dir, own }) => {
        requireRego(dir);
        try {
          const opa = Opa.find(dir, { version: OPA_VERSION });
          if (check) checkSources(opa, dir, own);
          const { capabilities: _, ...files } = compileBundle(opa, dir, entrypoint);
          const { digest, revision, entrypoint: asked, opa: version } = Bundle.parse(files);
          await probeBundle({ files, signers: { pems: [], threshold: 0 } }); // what no gateway loads is not written
          writeBundle(out, files);
          const report = { result: 'good', folder: out, digest, revision, entrypoint: asked, opa: version };
          printReport(report, json, () => `${out}: ${digest}, revision ${revision}\n`);
        } catch (thrown) {
          if (!(thrown instanceof OpaFailed)) throw thrown;
          const problem = withRules(thrown.message, (file) => readFileSync(join(dir, file), 'utf8'));
          if (json === undefined) process.stderr.write(`${problem}\n`);
          else printReport({ result: 'bad', problems: [problem] }, json, String);
          process.exitCode = exitOf(false);
        }
      });
    });
}
