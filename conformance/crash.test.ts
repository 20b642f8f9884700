import { spawnSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { LogTail } from './harness/log-tail.ts';
import { startSandbox, type Subject } from './harness/sandbox.ts';

// `kill -9` of either gateway under load. After a restart both logs verify, and every exchange that a client saw
// complete is in both.

const CLI = fileURLToPath(new URL('../gateway/cli.ts', import.meta.url));
const CLIENTS = 16;
let exchanges = 0;

await t.test('kill -9 of either gateway under load loses nothing that was seen complete', async (t) => {
  const dir = t.testdir({});
  const complete: string[] = [];
  for (const victim of ['consumer', 'provider'] as const) {
    const subject = await startSandbox(dir); // from the second on it recovers both logs
    const enough = complete.length + 40;
    const loads = Array.from({ length: CLIENTS }, () => load(subject, complete));
    // In the middle of it, however fast this machine is.
    while (complete.length < enough) await delay(5);
    process.kill(subject.ready[victim].pid, 'SIGKILL');
    await Promise.all(loads);
    t.equal(await subject.ended, 1, `the sandbox says that the ${victim}'s gateway ended`);
  }

  const subject = await startSandbox(dir);
  const before = complete.length;
  await load(subject, complete, 1);
  t.equal(complete.length, before + 1, 'and goes on');
  t.equal(await subject.stop(), 0);
  const { consumer, provider, trust } = subject.ready;
  for (const log of [consumer.log, provider.log]) {
    const records = await new LogTail(log).records();
    const logged = new Set(
      records.flatMap((record) => (record.k === 'res.final' && record.xid !== undefined ? [record.xid] : [])),
    );
    t.same(
      complete.filter((id) => !logged.has(id)),
      [],
      `all of them are in ${log === consumer.log ? 'A' : 'B'}'s log`,
    );
  }
  const verify = ['audit', 'verify', consumer.log, provider.log, '--trust', trust];
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...verify], { encoding: 'utf8' });
  t.equal(status, 0, 'audit verify holds', { stdout: stdout.slice(-2000), stderr: stderr.slice(-2000) });
});

/** One client after another exchange, whole and streamed ones in turn, until the gateway is gone. */
async function load({ ready }: Subject, complete: string[], most = Infinity): Promise<void> {
  for (let n = 0; n < most; n++) {
    const id = `crash-${exchanges++}`;
    const streamed = exchanges % 4 === 0;
    const url = `${ready.consumer.url}/r1/TW/GOV/B07/housing/${streamed ? 'files/200000' : 'echo/x'}`;
    try {
      const answer = await fetch(url, {
        headers: { 'X-Road-Client': 'TW/GOV/A11/welfare', 'X-Road-Id': id },
        signal: AbortSignal.timeout(60_000),
      });
      await answer.arrayBuffer();
      if (answer.status === 200) complete.push(id);
      else if (answer.status >= 500) return; // the other gateway is gone
    } catch {
      return; // this gateway is gone
    }
  }
}
