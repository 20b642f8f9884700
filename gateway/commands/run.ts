import type { Command } from 'commander';

/** `troad run --config FILE`: one gateway, until SIGTERM or SIGINT. */
export function registerRun(program: Command): void {
  program
    .command('run')
    .description('run one gateway')
    .requiredOption('--config <file>', 'YAML configuration (troad init writes one, troad doctor checks it)')
    .action(async ({ config }: { config: string }) => {
      const { runGateway } = await import('../node.ts');
      process.exitCode = await runGateway(config);
    });
}
