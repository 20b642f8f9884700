import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ServiceProcess } from '../../gateway/sandbox/service-process.ts';
import { freePort } from '../bench/spawn.ts';
import { PLAIN_NODE } from './plain-node.ts';

// Further processes of a sandbox's agency: the same gateway on, say, another machine, with a log of its own.

const CLI = fileURLToPath(new URL('../../gateway/cli.ts', import.meta.url));

export interface Replica {
  readonly url: string;
  /** Loopback address. */
  readonly link: string;
  readonly admin: string;
  readonly signals: string;
  readonly log: string;
  readonly process: ServiceProcess;
  readonly lines: readonly string[];
  /** Starts it anew, where it was. */
  again(): Promise<Replica>;
}

export interface ReplicaArgs {
  /** Of a running sandbox. */
  readonly dir: string;
  readonly agency: 'a11' | 'b07';
  /** From 1 to 4: the registry of a sandbox lists so many logs. */
  readonly number: number;
  readonly storePort: number;
}

export async function startReplica({ dir, agency, number, storePort }: ReplicaArgs): Promise<Replica> {
  const from = join(dir, 'agencies', agency);
  const to = join(dir, 'agencies', `${agency}-${number}`);
  cpSync(from, to, {
    recursive: true,
    filter: (path) => !['log', 'spool', 'signals.json'].some((name) => path === join(from, name)),
  });
  writeFileSync(join(to, 'replicas.secret'), 'shared by all replicas of an agency\n'.repeat(2), {
    mode: 0o600,
  });
  const [http, https, link, admin, signals] = await Promise.all(Array.from({ length: 5 }, () => freePort()));
  const text = readFileSync(join(to, 'gateway.yaml'), 'utf8')
    .replace(/(\n {2}http: .*port: )\d+/, `$1${http}`)
    .replace(/(\n {2}https: .*port: )\d+/, `$1${https}`)
    .replace(/(\nlink: .*?port: )\d+/, `$1${link}`)
    .replace(/(\nadmin: .*port: )\d+/, `$1${admin}`)
    .replace(/(\nsignals: .*port: )\d+/, `$1${signals}`)
    .replace(/(\nlog: .*origin: [^,]+)/, `$1/w${number}`);
  const store = `replicas: { store: "redis://127.0.0.1:${storePort}", secretFile: replicas.secret }\n`;
  const file = join(to, 'gateway.yaml');
  writeFileSync(file, text + store);
  const start = async (): Promise<Replica> => {
    const lines: string[] = [];
    const process = new ServiceProcess({
      name: `${agency}-${number}`,
      run: [...PLAIN_NODE, CLI, 'run', '--config', file],
      isStarted: (line) => line.includes('"gateway.started"'),
      onLine: (line) => void lines.push(line),
    });
    await process.ready;
    const replica: Replica = {
      url: `http://127.0.0.1:${http}`,
      link: `127.0.0.1:${link}`,
      admin: `http://127.0.0.1:${admin}`,
      signals: `http://127.0.0.1:${signals}/signals`,
      log: join(to, 'log'),
      process,
      lines,
      again: start,
    };
    await readiness(replica, 200);
    return replica;
  };
  return start();
}

/** Waits until a gateway is ready (200), or says that it is not (503). */
export async function readiness({ admin }: Pick<Replica, 'admin'>, status: 200 | 503): Promise<string> {
  for (let tries = 0; tries < 3000; tries += 1) {
    const answer = await fetch(`${admin}/readyz`);
    const body = await answer.text();
    if (answer.status === status) return body;
    await delay(20);
  }
  throw new Error(`${admin} did not become ${status}`);
}
