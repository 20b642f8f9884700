// What the host knows of itself, each item by a small collector that can be replaced. What cannot be found out is null
// or "unknown": a guess would be worse.
import type { EpochMs } from '../core/clock.ts';
import { utf8 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { readCves, type HealthReports, type HostClaims, type UpdateReport } from './health.ts';
import { parseObject, Shape } from './shape.ts';

/** The host as collectors see it: the door for tests and for other systems. */
export interface Host {
  /** Content of a small file, or undefined. */
  read(path: string): Promise<string | undefined>;
  /** When a file was last changed, or undefined when it is not there. */
  changed(path: string): Promise<EpochMs | undefined>;
  /** Standard output of a program, or undefined when there is none or it fails. */
  run(command: string, args: readonly string[]): Promise<string | undefined>;
  now(): EpochMs;
}

export interface Collectors {
  readonly os: (host: Host) => Promise<UpdateReport>;
  readonly antivirus: (host: Host) => Promise<HealthReports['antivirus']>;
  readonly applications: (host: Host) => Promise<UpdateReport>;
  readonly configuration: (host: Host) => Promise<HealthReports['configuration']>;
}

const UNKNOWN: UpdateReport = { pending: null, checked_hours: null };

async function hoursSince(host: Host, paths: readonly string[]): Promise<number | null> {
  const times = await Promise.all(paths.map((path) => host.changed(path)));
  const latest = Math.max(...times.map((at) => at ?? 0));
  return latest === 0 ? null : Math.max(0, Math.floor((host.now() - latest) / 3_600_000));
}

/** Packages that apt would upgrade; `Inst name [old] (new Origin:suite …)`. */
async function aptUpgrades(host: Host): Promise<readonly string[] | undefined> {
  const told = await host.run('apt-get', ['-s', '-q', '-o', 'Debug::NoLocking=true', 'upgrade']);
  return told?.split('\n').filter((line) => line.startsWith('Inst '));
}

const isSecurity = (line: string): boolean => /[Ss]ecurity/.test(line);

function aptUpdates(counts: (line: string) => boolean) {
  return async (host: Host): Promise<UpdateReport> => {
    const upgrades = await aptUpgrades(host);
    if (upgrades === undefined) return UNKNOWN;
    return {
      pending: upgrades.filter(counts).length,
      checked_hours: await hoursSince(host, [
        '/var/lib/apt/periodic/update-success-stamp',
        '/var/lib/apt/lists',
      ]),
    };
  };
}

/** ClamAV writes the date of its definitions into them: "ClamAV-VDB:21 Nov 2026 07-26 +0000:…". */
async function clamav(host: Host): Promise<HealthReports['antivirus']> {
  for (const name of ['daily.cld', 'daily.cvd']) {
    const text = await host.read(`/var/lib/clamav/${name}`);
    const [, date, hour, minute, zone] =
      /^ClamAV-VDB:(\d{1,2} \w{3} \d{4}) (\d\d)-(\d\d) ([+-]\d{4}):/.exec(text ?? '') ?? [];
    const made = Date.parse(`${date} ${hour}:${minute} ${zone}`);
    if (!Number.isNaN(made)) return { age_hours: Math.max(0, Math.floor((host.now() - made) / 3_600_000)) };
  }
  return { age_hours: null };
}

type Control = (host: Host) => Promise<boolean | undefined>;

/** True and false are found out; undefined is not. */
const CONTROLS: Readonly<Record<string, Control>> = {
  address_randomization: async (host) => is(await host.read('/proc/sys/kernel/randomize_va_space'), (text) => text === '2'),
  kernel_lockdown: async (host) => is(await host.read('/sys/kernel/security/lockdown'), (text) => !text.includes('[none]')),
  unprivileged_bpf_off: async (host) => is(await host.read('/proc/sys/kernel/unprivileged_bpf_disabled'), (text) => text !== '0'),
  // Is what / lies on a dm-crypt device, or below one?
  disk_encryption: async (host) => is(await host.run('lsblk', ['-n', '-s', '-o', 'TYPE', '-J', await rootDevice(host)]), (text) => text.includes('"crypt"')),
}; // prettier-ignore

const is = (text: string | undefined, test: (text: string) => boolean): boolean | undefined =>
  text === undefined ? undefined : test(text.trim());

async function rootDevice(host: Host): Promise<string> {
  const mounts = (await host.read('/proc/mounts')) ?? '';
  const line = mounts.split('\n').find((mount) => mount.split(' ')[1] === '/');
  return line?.split(' ')[0] ?? '/dev/root';
}

async function controls(host: Host): Promise<HealthReports['configuration']> {
  const found = await Promise.all(
    Object.entries(CONTROLS).map(async ([name, control]) => {
      const state = await control(host);
      return [name, state === undefined ? 'unknown' : state ? 'pass' : 'fail'] as const;
    }),
  );
  return Object.fromEntries(found);
}

/** For Debian and its relatives; on other systems most is honestly unknown. */
export const LINUX: Collectors = {
  os: aptUpdates(isSecurity),
  antivirus: clamav,
  applications: aptUpdates((line) => !isSecurity(line)),
  configuration: controls,
};

/** For a host that shall not be asked: the service sees as much, and judges it so. */
export const SILENT: Collectors = {
  os: () => Promise.resolve(UNKNOWN),
  antivirus: () => Promise.resolve({ age_hours: null }),
  applications: () => Promise.resolve(UNKNOWN),
  configuration: () => Promise.resolve({}),
};

/** Two collectors ask apt the same, which takes it seconds. */
function askedOnce(of: Host): Host {
  const runs = new Map<string, Promise<string | undefined>>();
  const run: Host['run'] = (command, args) => {
    const key = [command, ...args].join(' ');
    const answer = runs.get(key) ?? of.run(command, args);
    runs.set(key, answer);
    return answer;
  };
  return { ...of, run };
}

/**
 * What the host's own scanner found: a file `{"os": ["CVE-…"], "applications": [ … ]}`, worst first, at most 64 each. One
 * that is not there or not such a list says nothing, and no more than it says.
 */
async function scanned(host: Host, path: string): Promise<HostClaims['cves']> {
  const text = await host.read(path);
  try {
    return Shape.receive(parseObject(utf8(text ?? ''), path), path, readCves);
  } catch (thrown) {
    if (!(thrown instanceof MalformedBytes)) throw thrown;
    return undefined;
  }
}

/**
 * Asks every collector. One that fails does not know.
 * @param scan file of the host's scanner for known weaknesses
 */
export async function collect(
  of: Host,
  agent: string,
  collectors: Collectors = LINUX,
  scan?: string,
): Promise<HostClaims> {
  const host = askedOnce(of);
  const orUnknown = <T>(asked: Promise<T>, unknown: T): Promise<T> => asked.catch(() => unknown);
  const [os, antivirus, applications, configuration, cves, bootId] = await Promise.all([
    orUnknown(collectors.os(host), UNKNOWN),
    orUnknown(collectors.antivirus(host), { age_hours: null }),
    orUnknown(collectors.applications(host), UNKNOWN),
    orUnknown(collectors.configuration(host), {}),
    scan === undefined ? undefined : scanned(host, scan),
    host.read('/proc/sys/kernel/random/boot_id'),
  ]);
  const boot_id = bootId?.trim() ?? '';
  return {
    agent,
    boot_id: boot_id === '' ? 'unknown' : boot_id,
    health: { os, antivirus, applications, configuration },
    ...(cves === undefined ? {} : { cves }),
  };
}
