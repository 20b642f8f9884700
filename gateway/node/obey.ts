import type { MessagePort } from 'node:worker_threads';
import { ConfigError, describe } from '../core/errors.ts';
import { giveBack } from './collector.ts';
import { ExchangeWorker } from './exchange-worker.ts';
import type { FromWorker, Question, ToWorker, WorkerData } from './messages.ts';

/** A worker's side of what the main thread and it say to each other, until it is told to stop. */
export async function run(port: MessagePort, given: WorkerData): Promise<void> {
  const send = (message: FromWorker): void => port.postMessage(message);
  let worker: ExchangeWorker;
  try {
    worker = await ExchangeWorker.start(given, send);
  } catch (thrown) {
    send(failure(thrown));
    return;
  }
  giveBack();
  send({ kind: 'recovered' });
  // What came meanwhile waits for this line.
  port.on('message', (message: ToWorker) => {
    obey(message, worker, send).catch((thrown: unknown) => send(failure(thrown)));
  });
}

async function obey(
  message: ToWorker,
  worker: ExchangeWorker,
  send: (message: FromWorker) => void,
): Promise<void> {
  switch (message.kind) {
    case 'open':
      return send({ kind: 'opened', linkPort: await worker.open() });
    case 'registry':
      return worker.takeRegistry(message.bytes);
    case 'shadows':
      return worker.takeShadows(message.shadows);
    case 'policy':
      return send({ kind: 'answer', id: message.id, value: await worker.takePolicy(message.policy) });
    case 'credentials':
      worker.takeCredentials(message.credentials);
      return send({ kind: 'answer', id: message.id, value: true });
    case 'quarantine':
      return worker.setApart(message.peer);
    case 'threat':
      return worker.takeThreat(message.tables);
    case 'deviceList':
      return worker.takeDeviceList(message.text);
    case 'device':
      return worker.takeDevice(message.news);
    case 'stop':
      await worker.stop();
      return send({ kind: 'stopped' });
    default:
      return send({ kind: 'answer', id: message.id, value: answer(message, worker) });
  }
}

/** Questions that need no waiting. */
type Prompt = Exclude<Question, { readonly kind: 'policy' | 'credentials' }>;

/** @returns undefined for what cannot be told now: a log that is being closed has no newest head */
function answer(question: Prompt, worker: ExchangeWorker): unknown {
  try {
    return told(question, worker);
  } catch {
    return undefined;
  }
}

function told(question: Prompt, worker: ExchangeWorker): unknown {
  switch (question.kind) {
    case 'status':
      return worker.status;
    case 'metrics':
      return worker.snapshot();
    case 'checkpoint':
      return worker.checkpoint();
    case 'end':
      return worker.end(question.ending);
  }
}

const failure = (thrown: unknown): FromWorker => ({
  kind: 'failed',
  detail: describe(thrown),
  ...(thrown instanceof ConfigError ? { problems: thrown.problems } : {}),
});
