import type { Clock } from '../core/clock.ts';

const MOST = 20;
const WINDOW_MS = 60_000;

/**
 * A way to the operator's log for what strangers can cause: so many lines a minute, and then how many were left out. Told
 * with the next line, so that nothing has to run for it.
 */
export function fewLines(tell: (detail: string) => void, clock: Clock): (detail: string) => void {
  let began = clock.monotonic();
  let told = 0;
  let withheld = 0;
  return (detail) => {
    const now = clock.monotonic();
    if (now - began >= WINDOW_MS) {
      if (withheld > 0) tell(`${withheld} more were not shown`);
      [began, told, withheld] = [now, 0, 0];
    }
    if (told < MOST) tell(detail);
    else withheld += 1;
    told += 1;
  };
}
