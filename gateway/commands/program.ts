import { Command, CommanderError } from 'commander';
import { ConfigError, describe } from '../core/errors.ts';

/** 0 good · 1 the thing checked is bad · 2 wrong usage or configuration. */
export const EXIT = { good: 0, bad: 1, usage: 2 } as const;

/** The `troad` command. Each subcommand is one file, imported when it is asked for, so that help is instant. */
export async function main(argv: readonly string[]): Promise<number> {
  const program = new Command('troad')
    .description("Zero-trust data-exchange gateway for Taiwan's T-Road")
    .version('0.1.0')
    .exitOverride()
    .showHelpAfterError('(troad --help shows the commands)');
  const [run, sandbox, demo, audit, init, doctor, config, device, attestor, policy] = await Promise.all([
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
  try {
    await program.parseAsync([...argv]);
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT.good;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.good : EXIT.usage;
    if (thrown instanceof ConfigError) {
      for (const problem of thrown.problems) console.error(problem);
      return EXIT.usage;
    }
    console.error(inWords(thrown));
    return EXIT.bad;
  }
}

/** What the operating system refused, by its code, and what to do about it. */
const REFUSED: Readonly<Record<string, string>> = {
  'open ENOENT': 'there is no such file',
  'open EACCES': 'may not be opened by this user',
  'connect ENOENT': 'there is no such socket: is the program that listens there running?',
  'connect ECONNREFUSED': 'nobody listens there: is the program running?',
  'connect EINVAL': 'is too long for a socket: 107 bytes at most',
  'connect EACCES': 'may not be used by this user',
};

/** An error of the operating system for people, with the place it is about; any other as it is. */
function inWords(thrown: unknown): string {
  if (!(thrown instanceof Error) || !('code' in thrown) || !('syscall' in thrown)) return describe(thrown);
  const what = REFUSED[`${String(thrown.syscall)} ${String(thrown.code)}`];
  const place = 'path' in thrown ? thrown.path : 'address' in thrown ? thrown.address : undefined;
  if (what === undefined || typeof place !== 'string') return describe(thrown);
  const port = 'port' in thrown && typeof thrown.port === 'number' ? `:${thrown.port}` : '';
  return `${place}${port}: ${what}`;
}
