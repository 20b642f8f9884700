import { Option, type Command } from 'commander';
import { BREAKS } from '../sandbox/devices/breaks.ts';
import type { BreakReport } from '../sandbox/devices/breaks.ts';
import { readReady } from './sandbox-ready.ts';

interface Options {
  readonly dir: string;
  readonly break?: string;
  readonly heal?: true;
  readonly reEnrol?: true;
  readonly json?: true;
}

/** `troad sandbox device`: breaks into the machine of agency A's information system, or repairs it. */
export function registerSandboxDevice(sandbox: Command): void {
  sandbox
    .command('device')
    .description("state of a running sandbox's machines; or play somebody who has broken into one")
    .addOption(
      new Option('--break <what>', 'what the intruder does').choices(BREAKS).conflicts(['heal', 'reEnrol']),
    )
    .option('--heal', 'start the machine anew, as it was installed')
    .option('--re-enrol', 'new keys in the same TPM (an administrator allows it: troad attestor re-enrol)')
    .action(async (_: unknown, command: Command) => {
      // --dir and --json belong to `troad sandbox`, which reads them wherever they stand.
      process.exitCode = await run(command.optsWithGlobals());
    });
}

async function run({ dir, break: what, heal, reEnrol, json }: Options): Promise<number> {
  const { device } = await readReady(dir);
  if (device === undefined) throw new Error('this sandbox has no devices: swtpm is not installed');
  const { administrate } = await import('../attest/attestor-client.ts');
  const ask = (method: 'GET' | 'POST', path: string, body?: object) =>
    administrate(device.control, { method, path, ...(body && { body }) });
  if (reEnrol === true) {
    const { refused } = await ask('POST', '/re-enrol');
    if (typeof refused === 'string') throw new Error(`the attestation service refused: ${refused}`);
    process.stdout.write('enrolled again; now: troad attestor approve welfare\n');
    return 0;
  }
  if (what === undefined && heal === undefined) {
    print(await ask('GET', '/status'));
    return 0;
  }
  const answer = await (heal === true ? ask('POST', '/heal') : ask('POST', '/break', { what }));
  // The sandbox's own answer.
  const report = answer as unknown as BreakReport;
  if (json === true) print(report);
  else process.stdout.write(storyOf(report));
  return report.asExpected ? 0 : 1;
}

const print = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

/** For a terminal. */
function storyOf({ what, did, expected, observed, asExpected }: BreakReport): string {
  const lines = [
    what,
    ...did.map((done) => `  did       ${done}`),
    `  expected  ${expected}`,
    ...observed.map(
      ({ seconds, status, code }) => `  observed  after ${seconds.toFixed(1)} s: ${status} ${code ?? 'OK'}`,
    ),
    `  ${asExpected ? 'as expected' : 'NOT AS EXPECTED'}`,
  ];
  return `${lines.join('\n')}\n`;
}
