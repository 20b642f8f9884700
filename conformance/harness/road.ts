import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import type { CoreRecord } from '../../gateway/evidence/record.ts';
import { bundleDir } from '../../gateway/sandbox/bundle.ts';
import { Sandbox, type SandboxOptions, type SandboxReady } from '../../gateway/sandbox/sandbox.ts';
import { LogTail } from './log-tail.ts';
import { PLAIN_NODE } from './plain-node.ts';

// A sandbox in this process, its gateways outside: for tests that choose the policy and the number of workers.

const CLI = fileURLToPath(new URL('../../gateway/cli.ts', import.meta.url));
const PATH = '/r1/TW/GOV/B07/housing';
const CLIENT = { 'X-Road-Client': 'TW/GOV/A11/welfare' };

export interface Line {
  readonly event: string;
  readonly [field: string]: unknown;
}

/**
 * @param dir one of {@link newFolder}
 * @param bundle taken as it is, unsigned; without it the policy is released as in every sandbox
 */
export async function startRoad(
  dir: string,
  workers: number,
  bundle?: string,
  more: Partial<SandboxOptions> = {},
) {
  const lines: { readonly agency: string; readonly line: Line }[] = [];
  const sandbox = await Sandbox.start({
    dir,
    run: [...PLAIN_NODE, CLI, 'run'],
    bundle: bundle ?? bundleDir(),
    ...(bundle === undefined ? {} : { unsigned: true }),
    now: Date.now,
    workers,
    // Every line is one line of JSON, or this throws.
    ...more,
    onLine: (agency, line) => void lines.push({ agency, line: JSON.parse(line) as Line }),
  });
  return { sandbox, lines, ready: sandbox.ready };
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** An exchange whose answer has begun and is not read yet. @returns reads it */
export const begin = (url: string): Promise<() => Promise<Answer>> =>
  new Promise((resolve, reject) => {
    request(url, { headers: { ...CLIENT, connection: 'close' }, agent: false }, (response) => {
      resolve(async () => {
        const bytes = await buffer(response);
        return { status: response.statusCode ?? 0, body: bytes.toString('latin1') };
      });
    })
      .on('error', reject)
      .end();
  });

/** One exchange on a connection of its own, so that the kernel chooses a worker anew. */
export const ask = async (url: string): Promise<Answer> => (await begin(url))();
export const serviceUrl = ({ consumer }: SandboxReady, path: string): string =>
  `${consumer.url}${PATH}${path}`;

export const exchange = (ready: SandboxReady, path: string): Promise<Answer> => ask(serviceUrl(ready, path));
export const recordsOf = (log: string, worker: number): Promise<readonly CoreRecord[]> =>
  new LogTail(join(log, `w${worker}`)).records();

/** @returns the auditor's report */
export function requireGoodLogs(t: Test, { consumer, provider, trust }: SandboxReady): string {
  const verify = ['audit', 'verify', consumer.log, provider.log, '--trust', trust];
  const { status, stdout } = spawnSync(process.execPath, [CLI, ...verify], { encoding: 'utf8' });
  t.equal(status, 0, 'all logs verify, and agree', { stdout: stdout.slice(-2000) });
  return stdout;
}

/** Value of a series on the metrics page. */
export async function metric(admin: string, series: string): Promise<number> {
  const { body } = await ask(`${admin}/metrics`);
  const line = body.split('\n').find((each) => each.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1).replace('+Inf', 'Infinity'));
}

/** Not tap's own folder: that may be gone before the gateways have closed their logs in it. */
export function newFolder(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'troad-workers-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
