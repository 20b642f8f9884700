/**
 * A thread that says when each request is due. Timers of the event loop count whole milliseconds, longer than a small
 * exchange takes; waiting on a memory word is exact to some tens of microseconds and costs no CPU.
 */
import { parentPort, workerData } from 'node:worker_threads';

const due = workerData as Float64Array; // load-open.ts gives nothing else
const word = new Int32Array(new SharedArrayBuffer(4)); // nobody ever wakes it: the wait runs into its time-out

parentPort?.once('message', (start: number) => {
  for (const [index, offset] of due.entries()) {
    const waitMs = start + offset - Number(process.hrtime.bigint()) / 1e6;
    if (waitMs > 0) Atomics.wait(word, 0, 0, waitMs);
    parentPort?.postMessage(index);
  }
});
parentPort?.postMessage('ready');
