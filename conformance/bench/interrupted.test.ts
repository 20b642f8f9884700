import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { swtpmMissing } from '../builders/swtpm.ts';
import { PLAIN_NODE } from '../harness/plain-node.ts';
import { missing } from './spawn.ts';

// Real gateways, on a machine that may have other things to do.
t.setTimeout(170_000);

/** Command lines of what lives in a process group. */
const groupOf = (leader: number): readonly string[] =>
  readdirSync('/proc').flatMap((pid) => {
    try {
      const [, state, , group] =
        /^.*\) (.) (\d+) (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
      const lives = state !== 'Z' && Number(group) === leader;
      return lives ? [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')] : [];
    } catch {
      return []; // no process, or one that ended meanwhile
    }
  });

const absent = ['nginx', 'wrk', 'openssl'].map(missing).find((why) => why !== undefined) ?? false;
const measurements = [
  ['layouts.ts', 'SIGINT', absent],
  ['proofs.ts', 'SIGTERM', absent === false ? swtpmMissing : absent],
] as const;

for (const [file, signal, skip] of measurements) {
  void t.test(`${file} leaves no gateway behind when ${signal} ends it`, { skip }, async (t) => {
    const [program, ...args] = PLAIN_NODE;
    const child = spawn(program, [...args, fileURLToPath(new URL(file, import.meta.url)), '1'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true, // a group of its own: what it starts is found even when nobody is its parent any more
    });
    const leader = child.pid ?? 0;
    const ended = once(child, 'exit');
    const said = text(child.stderr);
    const gateways = (): readonly string[] =>
      groupOf(leader).filter((line) => line.includes(' run --config '));
    while (gateways().length < 2 && child.exitCode === null) await delay(50);
    process.kill(leader, signal); // to the measurement alone: a terminal would tell the gateways, too
    const [status] = (await ended) as [number | null];
    t.equal(status, 1);
    t.match(await said, `ended by ${signal}`);
    t.same(groupOf(leader), []);
  });
}
