// A real store for replicas: Debian's redis-server (Valkey speaks the same protocol) in memory on loopback.
import { mkdirSync } from 'node:fs';
import { freePort, startListening, which, type Running } from '../bench/spawn.ts';

const program = which('redis-server') ?? which('valkey-server');

/** For tap's `skip`: false when there is a store to run, else why not. */
export const storeMissing: false | string =
  program === undefined
    ? 'no redis-server and no valkey-server (node .ci/setup.mjs --debian replicas): NOTHING was tested against a real store'
    : false;

export interface Store extends Running {
  readonly port: number;
}

export interface StoreArgs {
  /** Empty folder, or one of a store before. */
  readonly dir: string;
  readonly port?: number;
  /** As on its command line. */
  readonly more?: readonly string[];
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** @throws Error when it does not listen */
export async function startStore({ dir, port, more = [], tls }: StoreArgs): Promise<Store> {
  if (program === undefined) throw new Error('no store is installed');
  mkdirSync(dir, { recursive: true });
  const own = port ?? (await freePort());
  const listen =
    tls === undefined
      ? ['--port', String(own)]
      : ['--port', '0', '--tls-port', String(own), '--tls-cert-file', tls.cert, '--tls-key-file', tls.key];
  const args = [
    ...listen,
    ...(tls === undefined ? [] : ['--tls-auth-clients', 'no']),
    ...['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir, '--loglevel', 'warning'],
    ...more,
  ];
  const running = await startListening(program, args, own);
  return { ...running, port: own };
}
