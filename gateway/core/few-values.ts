import { view } from './bytes.ts';
import { MalformedBytes } from './errors.ts';

/** Before each value but the first, or before its name, stands one of these. */
const MARKS = [...Buffer.from('{[,')];

/**
 * To be asked before JSON that nobody has signed is parsed: `{},{},…` becomes thirty times as many bytes of objects, and a
 * process that runs out of memory does not catch that.
 * @param json in UTF-8; marks inside texts count too
 * @throws MalformedBytes it may hold more values than that
 */
export function requireFewValues(json: Uint8Array, most: number): void {
  const bytes = view(json);
  let left = most;
  for (const mark of MARKS) {
    for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1)) {
      left -= 1;
      if (left < 0) throw new MalformedBytes(`holds more than ${most} values`);
    }
  }
}
