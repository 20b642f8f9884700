import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What V8's own door to the collector takes (`node --v8-options`, gc-extension.cc). */
type Collect = (
  options: { readonly type: 'minor' } | { readonly type: 'major'; readonly flavor: 'last-resort' },
) => void;

/** The engine's own door to the collector of this thread; new contexts have it once it is switched on. */
export function collector(): Collect {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as Collect; // there since the line above
}

/**
 * Gives back what only starting needed: a young generation of up to 32 MiB that loading filled, segments that were read
 * for recovery. V8 would keep all of it, as nothing that comes later makes it look through the whole heap again. Some 20
 * milliseconds, before a thread has anything else to do.
 */
export function giveBack(): void {
  collector()({ type: 'major', flavor: 'last-resort' });
}
