/** A thread that claims texts of a shared table as fast as it can, in an order of its own. */
import { parentPort, workerData } from 'node:worker_threads';
import { SharedTable, type SharedTableMemory } from './shared-table.ts';

export interface Claiming {
  readonly memory: SharedTableMemory;
  readonly texts: readonly string[];
  /** Where in the texts it begins: threads that begin together collide all the way. */
  readonly from: number;
  /** One word: how many threads are ready. They start together when it reaches `threads`. */
  readonly gate: SharedArrayBuffer;
  readonly threads: number;
}

const { memory, texts, from, gate, threads } = workerData as Claiming; // what the test beside gives it
const table = new SharedTable(memory);
const taken = new Uint8Array(texts.length);
const ready = new Int32Array(gate);
Atomics.add(ready, 0, 1);
while (Atomics.load(ready, 0) < threads);
for (let i = 0; i < texts.length; i += 1) {
  const at = (from + i) % texts.length;
  if (table.claim(texts[at] ?? '') === 'taken') taken[at] = 1;
}
parentPort?.postMessage(taken);
