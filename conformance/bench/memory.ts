/**
 * Memory of both gateways of a sandbox: started, after bulk each way, after small messages of users at 64 and 256
 * connections. Resident at the end of each step, and at most during it. Needs nginx, wrk and openssl; two minutes.
 *
 *     node conformance/bench/memory.ts [the `troad` command [GiB each way [seconds of a load]]]
 *
 * `dist/gateway/cli.js` is the command that `npm run build` makes; without an argument it is the one in the sources.
 */
import { resolve } from 'node:path';
import { download, upload } from './bulk.ts';
import { openLab } from './lab.ts';
import { closedLoop } from './load-closed.ts';
import { forgetPeak, treeMemory } from './procfs.ts';
import { troadPair, troadPairOf } from './subjects/troad-pair.ts';

const [cli, gib = '1', seconds = '30'] = process.argv.slice(2);
const TRANSFER_BYTES = 64 << 20;
const TRANSFERS = (Number(gib) * 2 ** 30) / TRANSFER_BYTES;

const lab = await openLab(TRANSFER_BYTES);
const pair = await (cli === undefined ? troadPair : troadPairOf(resolve(cli))).start(lab);

function report(step: string): void {
  for (const { role, pid } of pair.gateways) {
    const { nowMiB, peakMiB } = treeMemory(pid);
    process.stdout.write(
      `${step.padEnd(16)} ${role.padEnd(4)} ${nowMiB.toFixed(0)} MiB, at most ${peakMiB.toFixed(0)}\n`,
    );
    forgetPeak(pid);
  }
}

async function bulk(): Promise<void> {
  for (let n = 0; n < TRANSFERS; n += 1) {
    const down = await download(pair.target('bench', '/payload'), lab.payload.bytes);
    const up = await upload(pair.target('sink', '/swallow'), lab.payload);
    for (const { status, same } of [down, up])
      if (status !== 200 || !same) throw new Error(`a transfer failed: status ${status}`);
  }
}

async function small(connections: number): Promise<void> {
  const { requests, errors } = await closedLoop(await pair.userTarget('kept'), connections, Number(seconds));
  if (errors > 0) throw new Error(`${errors} of ${requests} failed`);
}

try {
  report('started');
  await bulk();
  report('bulk');
  for (const connections of [64, 256]) {
    await small(connections);
    report(`${connections} connections`);
  }
} finally {
  await pair.stop();
  await lab.close();
}
