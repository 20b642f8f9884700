import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, open, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { styleText } from 'node:util';
import type { Command } from 'commander';
import type { SandboxReady } from '../sandbox/sandbox.ts';
import type { Narrator } from '../sandbox/tour.ts';
import type { Wire } from '../sandbox/wire.ts';
import { sandboxOptions } from './sandbox.ts';

/** `troad demo`: a sandbox and a guided tour through it; ends by itself. */
export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('a guided tour: exchanges of every kind, then the proof of what happened')
    .option(
      '--dir <dir>',
      'folder for keys, registry and logs (default: a new one among the temporary files)',
    )
    .action(async ({ dir }: { dir?: string }) => {
      process.exitCode = await runDemo(dir ?? (await mkdtemp(join(tmpdir(), 'troad-demo-'))));
    });
}

async function runDemo(dir: string): Promise<number> {
  const { Sandbox } = await import('../sandbox/sandbox.ts');
  const { startWire } = await import('../sandbox/wire.ts');
  const { takeTour, TourFailed } = await import('../sandbox/tour.ts');
  const { takeUserTour } = await import('../sandbox/tour-users.ts');
  const { takeDeviceTour } = await import('../sandbox/tour-devices.ts');
  const narrator = speaker();
  narrator.step('Starting a T-Road on this machine: two agencies, two gateways, one service host');
  const options = await sandboxOptions(dir, true);
  const terminalGone = once(process, 'SIGHUP');
  let wire: Wire | undefined;
  const linkVia = async (port: number): Promise<number> => {
    wire = await startWire(port);
    return wire.port;
  };
  const sandbox = await Sandbox.start({ ...options, linkVia });
  // A gateway would go on: to it the signal says something else.
  void terminalGone.then(() => sandbox.stop().finally(() => process.exit(129)));
  try {
    if (wire === undefined) throw new Error('the sandbox did not ask for a wire'); // linkVia above sets it
    const { ready } = sandbox;
    narrator.line(`gateway of agency A: ${ready.consumer.url} (process ${ready.consumer.pid})`);
    narrator.line(
      `gateway of agency B: ${ready.provider.link} (process ${ready.provider.pid}), the network in between is ours`,
    );
    const found = await takeTour(ready, wire, narrator);
    const read = await takeUserTour(ready, narrator);
    const attested = await takeDeviceTour(ready, narrator);
    await sandbox.stop();
    return await prove(ready, cliOf(options.run), { ...found, read, attested }, narrator);
  } catch (thrown) {
    await sandbox.stop();
    if (!(thrown instanceof TourFailed)) throw thrown;
    narrator.line(`FAILED: ${thrown.message}`);
    return 1;
  } finally {
    wire?.close();
  }
}

/** The `troad` command, from one that runs a gateway: all but its last word. */
function cliOf([program, ...args]: readonly [string, ...string[]]): readonly [string, ...string[]] {
  return [program, ...args.slice(0, -1)];
}

/** The auditor's part, with the auditor's own command, after both gateways have stopped. */
async function prove(
  { consumer, provider, trust, dir }: SandboxReady,
  [program, ...cli]: readonly [string, ...string[]],
  found: {
    readonly aborted: string;
    readonly uploaded: string;
    readonly read: string | undefined;
    readonly attested: string | undefined;
  },
  narrator: Narrator,
): Promise<number> {
  const troad = async (...args: readonly string[]): Promise<number> => {
    narrator.line(styleText('bold', `$ troad ${args.join(' ')}`));
    const child = spawn(program, [...cli, ...args], { stdio: 'inherit' });
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? 1;
  };
  narrator.step('The auditor, offline: both logs, every signature, and whether the two agree');
  const verified = await troad('audit', 'verify', consumer.log, provider.log, '--trust', trust);
  const logs = ['--log', consumer.log, '--log', provider.log, '--trust', trust];
  narrator.step('The story of the upload');
  const shown = await troad('audit', 'show', found.uploaded, ...logs);
  let told = 0;
  let machine = 0;
  if (found.read !== undefined) {
    narrator.step('Who read the household register: level, methods and time in the open, the name sealed');
    told = await troad('audit', 'show', found.read, ...logs);
  }
  if (found.attested !== undefined) {
    narrator.step('From which machine the attested call came: its result and what the policy saw of it');
    machine = await troad('audit', 'show', found.attested, ...logs);
  }
  narrator.step("Somebody changes one bit in a copy of B's log");
  const forged = await forge(provider.log, join(dir, 'forged-log'));
  const caught = await troad('audit', 'verify', forged, '--trust', trust);
  const good = verified === 0 && shown === 0 && told === 0 && machine === 0 && caught === 1;
  narrator.step(good ? 'All as it must be. What to try next' : 'NOT as it must be: see above');
  narrator.line(`npm run -s troad -- sandbox --dir ${dir}        the same T-Road again, to play with`);
  narrator.line(
    `npm run -s troad -- audit show ${found.aborted} --log ${consumer.log} --log ${provider.log} --trust ${trust}`,
  );
  narrator.line('                                                what both logs say about the changed bit');
  narrator.line('docs/operating.md, docs/auditing.md             how to run it, how to check it');
  return good ? 0 : 1;
}

/** A copy of a log with one bit changed in the middle of what was written. */
async function forge(log: string, copy: string): Promise<string> {
  await cp(log, copy, { recursive: true, force: true });
  const [segment] = (await readdir(copy, { recursive: true }))
    .filter((name) => name.endsWith('.seg'))
    .toSorted();
  if (segment === undefined) throw new Error(`no segment in ${copy}`);
  const file = await open(join(copy, segment), 'r+');
  const at = 3000; // inside the first records
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at);
  await file.write(Buffer.of((buffer[0] ?? 0) ^ 0x01), 0, 1, at);
  await file.close();
  return copy;
}

/** Writes to the terminal; on a pipe, or with NO_COLOR, plain lines. */
function speaker(): Narrator {
  let steps = 0;
  let unfinished = false;
  const write = (text: string): void => {
    process.stdout.write(unfinished ? `\r\u001b[K${text}` : text);
    unfinished = false;
  };
  return {
    step: (title) => write(`\n${styleText(['bold', 'cyan'], `${++steps}. ${title}`)}\n`),
    line: (text) => write(`   ${text}\n`),
    progress: (text) => {
      if (!process.stdout.isTTY) return;
      process.stdout.write(`\r\u001b[K   ${text}`);
      unfinished = true;
    },
  };
}
