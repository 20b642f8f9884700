import { closeSync, existsSync, openSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { readCounted } from '../batching.ts';
import { changedBytesOfOurs } from '../changed-byte.ts';
import type { Lab } from '../lab.ts';
import { keep, ON_DISK, remove, temporaryFolder } from '../leftovers.ts';
import { run, start as startProgram, type Running } from '../spawn.ts';
import { CLIENT_FIELD, startUserMachine, userFields, type UserMachine } from '../user-load.ts';
import type { Answered, Gate, Gateway, Subject, SubjectKind, Target } from './subject.ts';
import { usersNamed } from './users-named.ts';

interface GatewayEnds {
  readonly log: string;
  readonly admin: string;
  readonly pid: number;
}

/** The part of `troad sandbox --json` that is used here. */
export interface SandboxReady {
  readonly consumer: GatewayEnds & { readonly url: string };
  readonly provider: GatewayEnds;
  readonly trust: string;
  /** Where a client's machine shows the certificate that the assertions of the sandbox's provider are bound to, if there is one. */
  readonly user: { readonly to: string; readonly certificate: string; readonly key: string } | undefined;
  /** There is a software TPM here, and the hosts of both gateways are attested with it. */
  readonly attested: boolean;
}

/** @throws Error naming the first field that is missing or of another type */
export function parseReady(line: string): SandboxReady {
  const root: unknown = JSON.parse(line);
  const at = (path: string): unknown =>
    path
      .split('.')
      .reduce<unknown>(
        (value, name) => (typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined),
        root,
      );
  const text = (path: string): string => {
    const value = at(path);
    if (typeof value !== 'string') throw new Error(`sandbox: ${path} is not a string: ${line.slice(0, 300)}`);
    return value;
  };
  const pid = (path: string): number => {
    const value = at(path);
    if (typeof value !== 'number' || !Number.isSafeInteger(value))
      throw new Error(`sandbox: ${path} is no process id`);
    return value;
  };
  const ends = (side: string): GatewayEnds => ({
    log: text(`${side}.log`),
    admin: text(`${side}.admin`),
    pid: pid(`${side}.pid`),
  });
  if (at('ready') !== true) throw new Error(`sandbox is not ready: ${line.slice(0, 300)}`);
  return {
    consumer: { url: text('consumer.url'), ...ends('consumer') },
    provider: ends('provider'),
    trust: text('trust'),
    user:
      at('identity') === undefined
        ? undefined
        : {
            to: new URL(text('consumer.tlsUrl')).host,
            certificate: text('consumer.clientCert'),
            key: text('consumer.clientKey'),
          },
    attested: at('device') !== undefined,
  };
}

/** Size of the tree that a log's latest checkpoint covers: its second line (C2SP tlog-checkpoint). */
export function parseTreeSize(checkpoint: string): number {
  const size = checkpoint.split('\n', 3)[1];
  if (size === undefined || !/^\d{1,15}$/.test(size))
    throw new Error(`no checkpoint: ${checkpoint.slice(0, 80)}`);
  return Number(size);
}

/** A log is a folder of epochs; the sandbox's has one. */
const treeSize = (log: string): number =>
  parseTreeSize(readFileSync(join(log, 'epoch-1', 'checkpoint'), 'utf8'));

const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x794c7630: 'overlayfs',
  0x01021994: 'tmpfs, where a sync costs nothing',
};

const fileSystem = (dir: string): string => {
  const { type } = statfsSync(dir);
  return FILE_SYSTEMS[type] ?? `type 0x${type.toString(16)}`;
};

async function readyLine(sandbox: Running): Promise<SandboxReady> {
  const { stdout } = sandbox.child;
  if (stdout === null) throw new Error('unreachable: stdout is piped');
  const late = setTimeout(() => void sandbox.stop(), 60_000);
  try {
    for await (const line of createInterface({ input: stdout })) {
      stdout.resume(); // what it says later is of no use, but must not fill the pipe
      return parseReady(line);
    }
  } finally {
    clearTimeout(late);
  }
  throw new Error('the sandbox ended, or took longer than 60 s, before it was ready');
}

/** The provider verified the assertion of each small request, or its log would not say so. */
async function userGate(log: string, expected: number): Promise<Gate> {
  const named = await usersNamed(log);
  const name = 'troad: the provider has verified a user for each small request';
  return { name, passed: named >= expected, detail: `${named} users of ${expected} requests` };
}

/** Both halves of every exchange must be in both logs, and an auditor must find nothing wrong with them. */
async function auditGates(
  cli: string,
  ready: SandboxReady,
  sizesBefore: readonly number[],
  { exchanges, ofUsers }: Answered,
): Promise<Gate[]> {
  const logs = [ready.consumer.log, ready.provider.log];
  const records = logs.map((log, index): Gate => {
    const grown = treeSize(log) - (sizesBefore[index] ?? 0);
    const name = `troad: ${index === 0 ? 'consumer' : 'provider'} has a record of each request and each answer`;
    return { name, passed: grown >= 2 * exchanges, detail: `${grown} records of ${exchanges} exchanges` };
  });
  const auditing = run(process.execPath, [cli, 'audit', 'verify', ...logs, '--trust', ready.trust], {
    maxBuffer: 64 << 20,
  }).then(
    () => ({ passed: true, detail: 'exit status 0' }),
    (cause: unknown) => ({ passed: false, detail: String(cause).slice(0, 2000) }),
  );
  const users = ready.user === undefined ? [] : [await userGate(ready.provider.log, ofUsers)];
  return [...records, ...users, { name: 'troad: audit verify of both logs', ...(await auditing) }];
}

const HOUSING = '/r1/TW/GOV/B07/housing';

/** Somebody signs in at the sandbox's provider, with a passkey, at the machine whose certificate the assertion is bound to. */
async function signIn(cli: string, dir: string): Promise<string> {
  const args = [cli, 'sandbox', 'assertion', '--dir', dir, '--certificate'];
  const { stdout } = await run(process.execPath, args);
  return stdout.trim();
}

/** The provider's assertions are good for 300 s; one this old would not outlive the next load. */
const REFRESH_MS = 200_000;

/** The last value while it is young enough, else a new one. */
function refreshed(make: () => Promise<string>): () => Promise<string> {
  let last: { readonly value: string; readonly at: number } | undefined;
  return async () => {
    const at = performance.now();
    if (last === undefined || at - last.at > REFRESH_MS) last = { value: await make(), at };
    return last.value;
  };
}

async function start(cli: string, lab: Pick<Lab, 'backend' | 'dir'>): Promise<Subject> {
  const dir = temporaryFolder(ON_DISK);
  const services = ['--service', `bench=${lab.backend.benchUrl}`, '--service', `sink=${lab.backend.sinkUrl}`];
  // To a file: a terminal could not keep up with a line an exchange.
  const diagnosticsFile = join(dir, 'stderr');
  const diagnostics = openSync(diagnosticsFile, 'w');
  const sandbox = startProgram(process.execPath, [cli, 'sandbox', '--dir', dir, '--json', ...services], {
    stdio: ['ignore', 'pipe', diagnostics],
  });
  let machine: UserMachine | undefined;
  try {
    const ready = await readyLine(sandbox);
    const assertion = refreshed(() => signIn(cli, dir));
    machine = ready.user && (await startUserMachine(lab.dir, 'troad', ready.user.to, ready.user));
    const sizes = [treeSize(ready.consumer.log), treeSize(ready.provider.log)];
    const gateways: Gateway[] = [
      { role: 'near', pid: ready.consumer.pid, counted: () => readCounted(ready.consumer.admin) },
      { role: 'far', pid: ready.provider.pid, counted: () => readCounted(ready.provider.admin) },
    ];
    return {
      name: 'troad',
      gateways,
      target: (door, path): Target => ({
        url: `${ready.consumer.url}${HOUSING}/${door}${path}`,
        headers: CLIENT_FIELD,
      }),
      userTarget: async (connections) => ({
        url: `${machine?.url[connections] ?? ready.consumer.url}${HOUSING}/bench/echo`,
        headers: machine === undefined ? CLIENT_FIELD : userFields(await assertion()),
      }),
      context: {
        logs: fileSystem(dir),
        hosts: ready.attested ? 'attested by software TPMs' : 'not attested: swtpm is not installed',
        users:
          machine === undefined ? 'none: no identity provider is installed' : 'an assertion each request',
      },
      stop: async () => {
        await Promise.all([sandbox.stop(), machine?.stop()]);
      },
      audit: async (answered) => {
        const gates = await auditGates(cli, ready, sizes, answered);
        if (gates.every(({ passed }) => passed)) {
          remove(dir);
          return gates;
        }
        keep(dir);
        return gates.map((gate) => ({ ...gate, detail: `${gate.detail}; the logs are kept in ${dir}` }));
      },
    };
  } catch (cause) {
    await Promise.all([sandbox.stop(), machine?.stop()]);
    const said = readFileSync(diagnosticsFile, 'utf8').slice(-2000);
    remove(dir);
    throw new Error(`the sandbox did not start: ${String(cause)}\n${said}`, { cause });
  } finally {
    closeSync(diagnostics); // the sandbox has its own copy
  }
}

/** Ours, as a user starts it, with all of its duties. @param cli the file that is the `troad` command */
export const troadPairOf = (cli: string) =>
  ({
    name: 'troad',
    missing: () => (existsSync(cli) ? undefined : 'the gateway has no command line yet'),
    start: (lab: Pick<Lab, 'backend' | 'dir'>) => start(cli, lab),
  }) satisfies SubjectKind;

export const troadPair: SubjectKind = {
  ...troadPairOf(new URL('../../../gateway/cli.ts', import.meta.url).pathname),
  attack: changedBytesOfOurs,
};
