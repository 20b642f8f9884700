import t from 'tap';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { toSeconds } from '../../../gateway/core/clock.ts';
import { openLog } from '../../../gateway/evidence/log.ts';
import type { UserFacts } from '../../../gateway/evidence/record.ts';
import { draft, logOptions } from '../../builders/log.ts';
import { parseReady, parseTreeSize, troadPairOf } from './troad-pair.ts';
import { usersNamed } from './users-named.ts';

const line = {
  ready: true,
  consumer: { url: 'http://127.0.0.1:1', log: '/c', admin: 'http://127.0.0.1:4', pid: 7 },
  provider: { link: 'x', log: '/p', admin: 'http://127.0.0.1:5', pid: 8 },
  trust: '/t',
};

void t.test('reads the line of the sandbox and refuses one that says less', (t) => {
  t.match(parseReady(JSON.stringify(line)), { consumer: line.consumer, trust: '/t', attested: false });
  t.match(parseReady(JSON.stringify({ ...line, device: { proxy: 'x' } })), { attested: true });
  const consumer = { ...line.consumer, tlsUrl: 'https://127.0.0.1:3', clientCert: '/k.pem', clientKey: '/k' };
  t.match(parseReady(JSON.stringify({ ...line, consumer, identity: {} })).user, {
    ...{ to: '127.0.0.1:3', certificate: '/k.pem', key: '/k' },
  });
  const nearMisses: readonly (readonly [string, object])[] = [
    ['consumer.url', { ...line, consumer: { ...line.consumer, url: 1 } }],
    ['provider.log', { ...line, provider: { pid: 8 } }],
    ['provider.admin', { ...line, provider: { log: '/p', pid: 8 } }],
    ['consumer.pid', { ...line, consumer: { ...line.consumer, pid: '7' } }],
    ['trust', { ...line, trust: undefined }],
    ['consumer.tlsUrl', { ...line, identity: {} }],
    ['not ready', { ...line, ready: 'yes' }],
  ];
  for (const [what, other] of nearMisses)
    t.throws(() => parseReady(JSON.stringify(other)), new RegExp(what.replace('.', '\\.')));
  t.end();
});

void t.test('reads the size from a checkpoint and nothing else', (t) => {
  t.equal(parseTreeSize('troad.example/log\n1234\nroot=\n\n— sig'), 1234);
  for (const text of ['', 'origin', 'origin\n-1\n', 'origin\n1e3\n'])
    t.throws(() => parseTreeSize(text), /no checkpoint/);
  t.end();
});

/** A program with the contract of `troad`: its logs grow to `size` while it runs, its auditor exits with `status`. */
const standIn = (size: number, status: number): string => `
  const { mkdirSync, writeFileSync } = require('node:fs');
  const { spawn } = require('node:child_process');
  const [, , command, , dir] = process.argv;
  if (command === 'audit') process.exit(${status});
  const logs = [dir + '/c', dir + '/p'];
  const checkpoint = (size) => logs.forEach((log) => writeFileSync(log + '/epoch-1/checkpoint', 'origin\\n' + size + '\\nroot\\n'));
  logs.forEach((log) => mkdirSync(log + '/epoch-1', { recursive: true }));
  checkpoint(3);
  const idle = logs.map(() => spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']));
  process.on('SIGTERM', () => { checkpoint(${size}); idle.forEach((child) => child.kill()); process.exit(0); });
  console.log(JSON.stringify({ ready: true, trust: dir + '/trust', consumer: { url: 'http://127.0.0.1:9', log: logs[0], admin: 'http://127.0.0.1:9', pid: idle[0].pid },
    provider: { log: logs[1], admin: 'http://127.0.0.1:9', pid: idle[1].pid } }));
`;

const backend = {
  benchUrl: 'http://127.0.0.1:1',
  sinkUrl: 'http://127.0.0.1:2',
  stop: () => Promise.resolve(),
};

for (const [what, size, status, passed] of [
  ['two records an exchange and a clean audit pass', 23, 0, [true, true, true]],
  ['one record too few does not', 22, 0, [false, false, true]],
  ['an audit that finds something does not', 23, 1, [true, true, false]],
] as const) {
  void t.test(`the logs are judged after the end: ${what}`, async (t) => {
    const cli = `${t.testdir({ 'cli.cjs': standIn(size, status) })}/cli.cjs`;
    const subject = await troadPairOf(cli).start({ backend, dir: t.testdirName });
    t.equal(subject.gateways.length, 2);
    t.match(subject.target('sink', '/slow'), { url: 'http://127.0.0.1:9/r1/TW/GOV/B07/housing/sink/slow' });
    await subject.stop();
    await subject.stop();
    const gates = await subject.audit({ exchanges: 10, ofUsers: 10 });
    t.same(
      gates.map((gate) => gate.passed),
      passed,
    );
    for (const { detail } of gates.slice(0, 1)) {
      const kept = /kept in (.+)$/.exec(detail)?.[1];
      t.equal(
        kept === undefined,
        passed.every(Boolean),
        'the logs are kept when, and only when, something failed',
      );
      if (kept !== undefined) t.ok(existsSync(kept));
      if (kept !== undefined)
        t.teardown(() =>
          import('node:fs').then(({ rmSync }) => {
            rmSync(kept, { recursive: true });
          }),
        );
    }
  });
}

void t.test('users are counted where their assertion was verified, bound to the machine', async (t) => {
  const dir = join(t.testdir(), 'log');
  const log = await openLog(logOptions(dir));
  const usr: UserFacts = {
    ...{ iss: 'https://idp.example', ial: 2, aal: 2, fal: 1, acr: 'x', amr: ['pin'] },
    ...{ at: toSeconds(0), by: 'certificate', once: [] },
  };
  await log.append(draft('req.final', 1, { usr }));
  await log.append(draft('req.final', 2, { usr: { ...usr, by: 'none' } }));
  await log.append(draft('req.final', 3));
  await log.append(draft('res.final', 1, { usr }));
  await log.append(draft('req.final', 4, { usr }));
  await log.close();
  t.equal(await usersNamed(dir), 2);
});

void t.test('a sandbox that does not start says why', async (t) => {
  const cli = `${t.testdir({ 'cli.cjs': "console.error('no policy bundle'); process.exit(1);" })}/cli.cjs`;
  await t.rejects(
    troadPairOf(cli).start({ backend, dir: t.testdirName }),
    /did not start.*\n.*no policy bundle/s,
  );
});
