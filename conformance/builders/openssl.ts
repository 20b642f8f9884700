// The openssl command as a second opinion: certificates we did not write, and checks we did not program.
import { spawnSync } from 'node:child_process';

const found = spawnSync('openssl', ['version']);

/** For tap's `skip`: false when there is an openssl to ask, else why not. */
export const opensslMissing: false | string =
  found.status === 0 ? false : 'no openssl command on the PATH: nothing to compare with';

/** Runs openssl. @returns what it printed; @throws Error with its complaint when it fails */
export function openssl(args: readonly string[], input?: string | Uint8Array): Buffer {
  const { status, stdout, stderr } = spawnSync('openssl', args, { input, timeout: 120_000 });
  if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr.toString()}${stdout.toString()}`);
  return stdout;
}
