import type { Command } from 'commander';

/** `troad config …`: what may be written in the configuration, and whether a file is right. */
export function registerConfig(program: Command): void {
  const config = program
    .command('config')
    .description('the configuration file: its schema, and a check of its text');
  config
    .command('schema')
    .description('print the JSON Schema of the configuration file, for editors')
    .action(async () => {
      const { configJsonSchema } = await import('../config/schema.ts');
      process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
    });
  config
    .command('check')
    .description('check a configuration file and the files it names (troad doctor also looks at the host)')
    .argument('<file>', 'YAML configuration')
    .action(async (file: string) => {
      const { loadConfig } = await import('../config/load.ts');
      loadConfig(file); // throws ConfigError with all problems: exit status 2
      process.stdout.write(`${file}: good\n`);
    });
}
