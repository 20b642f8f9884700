import t from 'tap';
import { collect, type Host, LINUX, SILENT } from './collectors.ts';
import { claimsDocument, parseClaims, weaknessesOf } from './health.ts';
import { utf8 } from '../core/bytes.ts';
import { canonicalJson } from '../trust/canonical.ts';

const NOW = Date.UTC(2026, 10, 22, 9);
const hours = (ago: number): number => NOW - ago * 3_600_000;

interface Pretended {
  readonly files?: Readonly<Record<string, string>>;
  readonly changed?: Readonly<Record<string, number>>;
  readonly programs?: Readonly<Record<string, string>>;
}

const host = ({ files = {}, changed = {}, programs = {} }: Pretended): Host => ({
  read: (path) => Promise.resolve(files[path]),
  changed: (path) => Promise.resolve(changed[path]),
  run: (command) => Promise.resolve(programs[command]),
  now: () => NOW,
});

const UPGRADES = `Reading package lists...
Inst libssl3 [3.0.15-1] (3.0.17-1 Debian-Security:12/oldstable-security [amd64])
Inst vim [2:9.0.1378-2] (2:9.0.1378-3 Debian:12.11/oldstable [amd64])
Inst tzdata [2025a] (2025b Debian:12-updates/oldstable-updates [all])
Conf libssl3 (3.0.17-1 Debian-Security:12/oldstable-security [amd64])
`;

void t.test('a Debian machine', async (t) => {
  const claims = await collect(
    host({
      files: {
        '/proc/sys/kernel/random/boot_id': 'c7a0f0b2-0000\n',
        '/proc/sys/kernel/randomize_va_space': '2\n',
        '/sys/kernel/security/lockdown': 'none [integrity] confidentiality\n',
        '/proc/sys/kernel/unprivileged_bpf_disabled': '0\n',
        '/proc/mounts': 'proc /proc proc rw 0 0\n/dev/mapper/vg-root / ext4 rw 0 0\n',
        '/var/lib/clamav/daily.cld': 'ClamAV-VDB:21 Nov 2026 07-26 +0000:27500:2000000:90:x:y:z:1',
      },
      changed: { '/var/lib/apt/lists': hours(7), '/var/lib/apt/periodic/update-success-stamp': hours(5) },
      programs: {
        'apt-get': UPGRADES,
        lsblk: '{"blockdevices":[{"type":"lvm","children":[{"type":"crypt"}]}]}',
      },
    }),
    'troad test',
  );
  t.same(claims, {
    agent: 'troad test',
    boot_id: 'c7a0f0b2-0000',
    health: {
      os: { pending: 1, checked_hours: 5 },
      antivirus: { age_hours: 25 },
      applications: { pending: 2, checked_hours: 5 },
      configuration: {
        address_randomization: 'pass',
        kernel_lockdown: 'pass',
        unprivileged_bpf_off: 'fail',
        disk_encryption: 'pass',
      },
    },
  });
  const sent = utf8(canonicalJson(claimsDocument(claims)));
  t.same(parseClaims(sent), claims, 'as the service reads it');
});

void t.test('a machine that knows nothing says so', async (t) => {
  const { health, boot_id } = await collect(host({}), 'troad test');
  t.equal(boot_id, 'unknown');
  t.same(health.os, { pending: null, checked_hours: null });
  t.same(health.antivirus, { age_hours: null });
  t.ok(Object.values(health.configuration).every((state) => state === 'unknown'));
});

void t.test('asks apt once; and nobody when it shall be silent', async (t) => {
  let asked = 0;
  const counting = { ...host({}), run: async () => void (asked += 1) };
  await collect(counting, 'x');
  t.equal(asked, 2, 'apt-get and lsblk');
  const { health } = await collect(counting, 'x', SILENT);
  t.equal(asked, 2);
  t.same(health.os, { pending: null, checked_hours: null });
});

void t.test('known weaknesses are what the scanner of the host wrote, or nothing', async (t) => {
  const cves = { os: ['CVE-2021-44228'], applications: [] };
  const scan = async (file: string | undefined) =>
    collect(host(file === undefined ? {} : { files: { '/scan': file } }), 'troad test', SILENT, '/scan');
  const claims = await scan(JSON.stringify(cves));
  t.same(claims.cves, cves);
  const sent = utf8(canonicalJson(claimsDocument(claims)));
  t.same(parseClaims(sent), claims, 'as the service reads it');
  t.same(weaknessesOf(parseClaims(sent)), { os: [202_100_044_228], applications: [] });
  for (const nothing of [
    undefined,
    '',
    '{"os":[]}',
    '{"os":["log4j"],"applications":[]}',
    JSON.stringify({ ...cves, more: 1 }),
    JSON.stringify({ ...cves, os: Array.from({ length: 65 }, (_, i) => `CVE-2026-${1000 + i}`) }),
  ])
    t.equal((await scan(nothing)).cves, undefined, String(nothing).slice(0, 40));
  t.throws(() => weaknessesOf({ ...claims, cves: { os: ['CVE-2026-01234'], applications: [] } }), {
    name: 'MalformedBytes',
  });
});

void t.test('a collector that fails does not know, and does not stop the others', async (t) => {
  const broken = {
    ...LINUX,
    os: () => Promise.reject(new Error('x')),
    antivirus: () => Promise.reject(new Error('y')),
  };
  const { health } = await collect(host({ programs: { 'apt-get': '' } }), 'troad test', broken);
  t.same(health.os, { pending: null, checked_hours: null });
  t.same(health.applications, { pending: 0, checked_hours: null });
});

void t.test('definitions that say nothing are unknown', async (t) => {
  for (const text of ['', 'ClamAV-VDB:', 'ClamAV-VDB:99 Xyz 2026 07-26 +0000:1', 'binary\0']) {
    const { health } = await collect(host({ files: { '/var/lib/clamav/daily.cvd': text } }), 'x');
    t.same(health.antivirus, { age_hours: null });
  }
});
