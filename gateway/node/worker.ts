import module from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import type { WorkerData } from './messages.ts';

// Where a worker thread begins. The cache of compiled code is a thread's own to switch on, before it loads anything.

module.enableCompileCache();
if (parentPort === null) throw new Error('this is a thread of the gateway, not a program');
const data = workerData as WorkerData; // what the main thread gives it
const { run } = await import('./obey.ts');
await run(parentPort, data);
