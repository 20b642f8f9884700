import { createServer } from 'node:net';
import { open, rm, statfs, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { GatewayConfig } from '../../config/config.ts';
import type { Report } from './finding.ts';

const HYBRID = 'X25519MLKEM768';
const MIB = 1024 * 1024;

/** The Node that runs us, and what its OpenSSL can do. */
export async function checkRuntime(report: Report, requireHybrid: boolean): Promise<void> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 24 || (major === 24 && minor >= 15))
    report.ok('Node.js', `${process.version}, OpenSSL ${process.versions.openssl}`);
  else report.bad('Node.js', `${process.version} is too old`, 'install Node 24 LTS');
  try {
    createSecureContext({ ecdhCurve: HYBRID });
    report.ok('key exchange', `${HYBRID} (hybrid post-quantum) is available`);
  } catch {
    const advice = 'use a Node built with OpenSSL 3.5 or later';
    if (requireHybrid)
      report.bad('key exchange', `${HYBRID} is not available, and link.requireHybrid asks for it`, advice);
    else report.warn('key exchange', `${HYBRID} is not available: sessions will be classical`, advice);
  }
  if (process.getuid?.() === 0)
    report.warn('user', 'running as root', 'run the gateway as a user of its own');
}

/** Whether each listener could be opened now. */
export async function checkPorts(report: Report, { listen, link, admin }: GatewayConfig): Promise<void> {
  const endpoints = { 'listen.http': listen.http, 'listen.https': listen.https, link, admin };
  for (const [name, endpoint] of Object.entries(endpoints)) {
    if (endpoint === undefined || endpoint.port === 0) continue;
    const { host, port } = endpoint;
    const code = await tryToListen(host, port);
    const subject = `${name} port`;
    const at = `${host}:${port}`;
    if (code === undefined) report.ok(subject, `${at} is free`);
    else if (code === 'EADDRINUSE')
      report.warn(
        subject,
        `${at} is in use`,
        'fine when this gateway is running; otherwise find out who has it: ss -ltnp',
      );
    else if (code === 'EACCES')
      report.bad(
        subject,
        `${at} may not be opened by this user`,
        'use a port above 1023, or give the service CAP_NET_BIND_SERVICE',
      );
    else if (code === 'EADDRNOTAVAIL')
      report.bad(subject, `${host} is not an address of this machine`, `correct ${name}.host`);
    else report.bad(subject, `${at}: ${code}`, `correct ${name}`);
  }
}

function tryToListen(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** File systems by the number `statfs` gives (linux/magic.h), where an fsync does not mean what the log needs. */
const FILE_SYSTEMS = new Map<number, string>([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB'],
  [0x65735546, 'FUSE'],
  [0x01021994, 'tmpfs (memory)'],
  [0x858458f6, 'ramfs (memory)'],
]);

const SYNCS = 40;
/** A sync per batch of records: this is what every exchange waits for. */
const SLOW_MS = 10;

/** Room, kind and speed of the disk under the evidence log. */
export async function checkLogDisk(report: Report, { log }: GatewayConfig): Promise<void> {
  const dir = await nearestFolder(log.dir);
  const { type, bavail, bsize, ffree } = await statfs(dir);
  const unsafe = FILE_SYSTEMS.get(type >>> 0);
  if (unsafe === undefined) report.ok('log disk', `${dir} is on a local file system`);
  else
    report.warn(
      'log disk',
      `${dir} is on ${unsafe}`,
      'keep the evidence log on a local disk: a sync must survive a power cut',
    );

  const freeMiB = Math.floor((bavail * bsize) / MIB);
  const segmentMiB = log.segmentBytes / MIB;
  // Two segments are taken at once at the start; what is left is the time until somebody has to act.
  if (freeMiB < 3 * segmentMiB)
    report.bad(
      'log space',
      `${freeMiB} MiB free, less than three segments of ${segmentMiB} MiB`,
      'make room, or lower log.segmentMiB',
    );
  else if (freeMiB < 1024)
    report.warn('log space', `${freeMiB} MiB free`, 'plan for at least 1 GiB; records are kept for years');
  else report.ok('log space', `${freeMiB} MiB free, segments of ${segmentMiB} MiB`);
  if (ffree > 0 && ffree < 1000) report.warn('log space', `${ffree} inodes free`, 'make room for files');

  const { median, worst } = await measureSync(dir);
  const figures = `median ${median.toFixed(2)} ms, worst ${worst.toFixed(1)} ms of ${SYNCS}`;
  if (median > SLOW_MS)
    report.warn(
      'log sync',
      figures,
      'every exchange waits for a sync: use a faster disk (SSD with power-loss protection)',
    );
  else report.ok('log sync', figures);
}

/** The folder itself, or the nearest above it that exists: the log makes its own. */
async function nearestFolder(path: string): Promise<string> {
  for (let dir = path; ; dir = dirname(dir)) {
    const found = await stat(dir).catch(() => undefined);
    if (found?.isDirectory() === true) return dir;
    if (found !== undefined || dir === dirname(dir)) throw new Error(`${dir} is not a folder`);
  }
}

async function measureSync(dir: string): Promise<{ median: number; worst: number }> {
  const path = join(dir, `.doctor-${process.pid}`);
  const file = await open(path, 'wx', 0o600);
  try {
    const block = Buffer.alloc(4096, 1);
    const times: number[] = [];
    for (let i = 0; i < SYNCS; i += 1) {
      const started = performance.now();
      await file.write(block, 0, block.length, i * block.length);
      await file.datasync();
      times.push(performance.now() - started);
    }
    times.sort((a, b) => a - b);
    return { median: times[SYNCS / 2] ?? 0, worst: times.at(-1) ?? 0 };
  } finally {
    await file.close();
    await rm(path, { force: true });
  }
}
