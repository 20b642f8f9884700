import { randomBytes } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { openSession } from './harness/link-client.ts';
import { linkRequest, stolenKeys, type LinkRequest } from './harness/link-request.ts';
import { LogTail } from './harness/log-tail.ts';
import { startSandbox, type Subject } from './harness/sandbox.ts';

// What has to outlive a process: ids of messages seen, and what peers showed of their logs.

const CLI = fileURLToPath(new URL('../gateway/cli.ts', import.meta.url));
async function send(subject: Subject, request: LinkRequest): Promise<number | undefined> {
  const session = await openSession(subject.ready.provider.link, stolenKeys(subject));
  try {
    const { answers } = await session.send(request, 'tidy');
    return answers[0]?.status;
  } finally {
    session.destroy();
  }
}

await t.test('a message that was taken before a restart is refused after it', async (t) => {
  const dir = t.testdir({});
  const first = await startSandbox(dir);
  const request = linkRequest({}, stolenKeys(first), Date.now());
  t.equal(await send(first, request), 200);
  t.equal(await send(first, request), 409, 'a second time');
  process.kill(first.ready.provider.pid, 'SIGKILL'); // no orderly end: only the log remembers
  await first.stop();
  const again = await startSandbox(dir);
  try {
    t.equal(await send(again, request), 409, 'by the gateway that started after the crash');
    t.equal(await send(again, linkRequest({}, stolenKeys(again), Date.now())), 200, 'a new one is taken');
  } finally {
    t.equal(await again.stop(), 0);
  }
});

await t.test('peers that met show each other their logs, and keep what they saw', async (t) => {
  const subject = await startSandbox(t.testdir({}));
  const { consumer, provider, trust } = subject.ready;
  const kept = async (log: string): Promise<number> =>
    (await new LogTail(log).records()).filter(({ k }) => k === 'peer.cp').length;
  const before = [await kept(consumer.log), await kept(provider.log)] as const;
  try {
    const url = `${consumer.url}/r1/TW/GOV/B07/housing/echo`;
    const id = randomBytes(4).toString('hex');
    await (await fetch(url, { headers: { 'X-Road-Client': 'TW/GOV/A11/welfare', 'X-Road-Id': id } })).text();
    for (let tries = 0; tries < 1000; tries++) {
      if ((await kept(consumer.log)) > before[0] && (await kept(provider.log)) > before[1]) break;
      await delay(100);
    }
    t.ok((await kept(consumer.log)) > before[0], 'A keeps what B showed');
    t.ok((await kept(provider.log)) > before[1], 'B keeps what A showed');
  } finally {
    t.equal(await subject.stop(), 0);
  }
  const args = ['audit', 'verify', consumer.log, provider.log, '--trust', trust, '--json'];
  const { status, stdout } = spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8' });
  t.equal(status, 0, 'and the auditor finds every head on the tree it is of', {
    stdout: stdout.slice(0, 2000),
  });
});
