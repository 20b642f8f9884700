// Evaluates inputs in a thread of its own, in reverse order first, and tells the digest of all answers.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { Bundle } from '../gateway/trust/bundle.ts';
import { PolicyEngine } from '../gateway/trust/engine.ts';
import { POLICIES } from './opa.ts';

const read = (name: string): Buffer => readFileSync(join(POLICIES, 'bundle', name));
const engine = PolicyEngine.load(
  Bundle.parse({ manifest: read('manifest.json'), wasm: read('policy.wasm'), data: read('data.json') }),
);
const inputs = workerData as readonly string[]; // from score.test.ts
for (const input of inputs.toReversed()) engine.evaluate(input);
const hash = createHash('sha256');
for (const input of inputs) hash.update(JSON.stringify(engine.evaluate(input)));
parentPort?.postMessage(hash.digest('hex'));
