import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fold, formatFlame, type CpuProfile } from './flame.ts';
import { openLab } from './lab.ts';
import { closedLoop } from './load-closed.ts';
import { troadPair } from './subjects/troad-pair.ts';

const CONNECTIONS = 64;
const SAMPLE_US = 500;

/**
 * Our pair under load with V8's profiler on; a figure of such a run says nothing, so none is printed.
 * @param dir gets a profile and a flame graph of each thread of each process
 * @param seconds of load, the warming up included
 */
export async function drawFlames(dir: string, seconds: number): Promise<readonly string[]> {
  mkdirSync(dir, { recursive: true });
  const options = process.env['NODE_OPTIONS'];
  process.env['NODE_OPTIONS'] = `--cpu-prof --cpu-prof-interval ${SAMPLE_US} --cpu-prof-dir=${dir}`;
  const lab = await openLab(8 << 20);
  try {
    const pair = await troadPair.start(lab);
    process.env['NODE_OPTIONS'] = options ?? '';
    const roles = new Map(pair.gateways.map(({ role, pid }) => [String(pid), role]));
    await closedLoop(await pair.userTarget('kept'), CONNECTIONS, seconds);
    await pair.stop(); // the profiles are written on the way out
    const drawn: string[] = [];
    for (const name of readdirSync(dir)) {
      // CPU.date.time.pid.thread.sequence.cpuprofile
      const [, , , pid = '', thread = '', , kind] = name.split('.');
      const role = roles.get(pid);
      if (kind !== 'cpuprofile' || role === undefined) continue;
      const profile = JSON.parse(readFileSync(join(dir, name), 'utf8')) as CpuProfile; // V8 wrote it
      const file = join(dir, `${role}-thread-${thread}.svg`);
      writeFileSync(file, formatFlame(fold(profile), `${role} gateway, thread ${thread}`));
      drawn.push(file);
    }
    await pair.audit({ exchanges: 0, ofUsers: 0 });
    return drawn.toSorted();
  } finally {
    process.env['NODE_OPTIONS'] = options ?? '';
    await lab.close();
  }
}
