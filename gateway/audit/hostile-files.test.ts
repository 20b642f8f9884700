// Files of a log that are not what they should be: whoever made the folder chose their kinds and lengths.
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { cp, mkdir, readdir, rm, symlink, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import t from 'tap';
import { ExchangePair, trustDocument } from '../../conformance/builders/exchanges.ts';
import { exchangeId, HandClock, logOptions } from '../../conformance/builders/log.ts';
import { openLog } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import { findingsOf } from './report.ts';
import { showExchange } from './show.ts';
import { parseTrustFile } from './trust-file.ts';
import { auditLogs } from './verify.ts';

const root = mkdtempSync(`${tmpdir()}/troad-hostile-`);
t.teardown(() => rm(root, { recursive: true, force: true }));
const clock = new HandClock();
const trust = parseTrustFile(JSON.stringify(trustDocument()));
const storage = nodeStorage();

const good = `${root}/good`;
const log = await openLog(logOptions(good, { clock }));
await (await ExchangePair.sign(1, clock)).write(log, 'c');
await log.close();
const [segment = ''] = (await readdir(`${good}/epoch-1`)).filter((name) => name.endsWith('.seg'));
const [key = ''] = await readdir(`${good}/keys`);

let copies = 0;
const copy = async (): Promise<string> => {
  const dir = `${root}/copy-${(copies += 1)}`;
  await cp(good, dir, { recursive: true });
  return dir;
};

void t.test('stored hashes of more than two gigabytes, which 33 million records have', async (t) => {
  const dir = await copy();
  await truncate(`${dir}/epoch-1/hashes`, 3 * 2 ** 30); // what is behind the tree's is for the next records
  const ask = { storage, logs: [dir], trust };
  t.same(findingsOf(await auditLogs({ ...ask, deep: true })), []);
  t.equal((await showExchange({ ...ask, id: exchangeId(1) })).result, 'good');
});

void t.test(
  'files that are too long, folders, pipes and devices are told, and nothing waits or throws',
  async (t) => {
    const kinds: Readonly<Record<string, (path: string) => unknown>> = {
      'of a terabyte': (path) => truncate(path, 2 ** 40),
      'a folder': async (path) => {
        await rm(path);
        await mkdir(path);
      },
      'a pipe': async (path) => {
        await rm(path);
        execFileSync('mkfifo', [path]);
      },
      'a device': async (path) => {
        await rm(path);
        await symlink('/dev/zero', path);
      },
    };
    const files = [
      `epoch-1/${segment}`,
      'epoch-1/checkpoint',
      'epoch-1/checkpoints',
      'epoch-1/hashes',
      'head',
      `keys/${key}`,
    ];
    for (const [what, make] of Object.entries(kinds)) {
      for (const file of files) {
        // What is behind the tree's in the file of hashes is for the next records; without it, it is made anew.
        if (file.endsWith('hashes') && what !== 'a folder') continue;
        // Without content the history is as good as none.
        if (file.endsWith('checkpoints') && ['a pipe', 'a device'].includes(what)) continue;
        const dir = await copy();
        await make(`${dir}/${file}`);
        const ask = { storage, logs: [dir, good], trust };
        const report = await auditLogs({ ...ask, deep: true });
        t.equal(report.result, 'bad', `${file}: ${what}`);
        t.equal(report.logs.length, 2, 'the other log was looked at all the same');
      }
    }
  },
);
