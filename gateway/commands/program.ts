import { Command, CommanderError } from 'commander';
import { ConfigError } from '../core/errors.ts';
import { inWordsWithPlace } from '../core/file-errors.ts';

/** 0 good · 1 the thing checked is bad · 2 wrong usage or configuration. */
export const EXIT = { good: 0, bad: 1, usage: 2 } as const;

/** The `troad` command. Each subcommand is one file, imported when it is asked for, so that help is instant. */
export async function main(argv: readonly string[]): Promise<number> {
  const program = new Command('troad')
    .description("Zero-trust data-exchange gateway for Taiwan's T-Road")
    .version('0.1.0')
    .exitOverride()
    .showHelpAfterError('(troad --help shows the commands)');
  const [run, sandbox, demo, audit, init, doctor, config, device, attestor, policy, registry] =
    await Promise.all([
      import('./run.ts'),
      import('./sandbox.ts'),
      import('./demo.ts'),
      import('./audit.ts'),
      import('./init.ts'),
      import('./doctor.ts'),
      import('./config.ts'),
      import('./device.ts'),
      import('./attestor.ts'),
      import('./policy.ts'),
      import('./registry.ts'),
    ]);
  run.registerRun(program);
  init.registerInit(program);
  doctor.registerDoctor(program);
  config.registerConfig(program);
  audit.registerAudit(program);
  policy.registerPolicy(program);
  sandbox.registerSandbox(program);
  demo.registerDemo(program);
  device.registerDevice(program);
  attestor.registerAttestor(program);
  registry.registerRegistry(program);
  try {
    await program.parseAsync([...argv]);
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT.good;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.good : EXIT.usage;
    if (thrown instanceof ConfigError) {
      for (const problem of thrown.problems) console.error(problem);
      return EXIT.usage;
    }
    console.error(inWordsWithPlace(thrown));
    return EXIT.bad;
  }
}
