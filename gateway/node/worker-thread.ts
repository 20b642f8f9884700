import { SHARE_ENV, Worker } from 'node:worker_threads';
import { ConfigError, describe } from '../core/errors.ts';
import type { DeviceNews } from '../exchange/device-checks.ts';
import type { FromWorker, Questions, ToWorker, WorkerData } from './messages.ts';
import { EvaluationMark } from './watchdog.ts';

/** Beside this file; the build has it as JavaScript. */
const PROGRAM = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);
/** A worker that needs longer to say how it is does not carry exchanges either. */
const ANSWER_MS = 1000;

export interface WorkerThreadEvents {
  lines(lines: string): void;
  quarantine(peer: string): void;
  policyFailing(bundle: string, detail: string): void;
  device(news: DeviceNews): void;
}

/** One thread, from its start to its end; its successor is another. */
export class WorkerThread {
  readonly mark: EvaluationMark;
  /** Resolves when its log is open and recovered. @throws ConfigError, Error when it ends instead */
  readonly recovered: Promise<void>;
  /** Resolves with the port of its link when its doors are open. @throws as `recovered` */
  readonly opened: Promise<number>;
  /** Resolves with the reason when the thread is gone, for whatever reason, and everything it had open is closed. */
  readonly gone: Promise<string>;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, (answer: unknown) => void>();
  #nextId = 0;
  #isOpen = false;
  #isGone = false;
  #isEnding = false;
  #why = 'it ended by itself';

  constructor(data: Omit<WorkerData, 'mark'>, events: WorkerThreadEvents) {
    this.mark = new EvaluationMark();
    const workerData: WorkerData = { ...data, mark: this.mark.memory };
    this.#worker = new Worker(PROGRAM, { workerData, env: SHARE_ENV, name: `worker ${data.worker}` });
    const recovered = Promise.withResolvers<void>();
    const opened = Promise.withResolvers<number>();
    const gone = Promise.withResolvers<string>();
    this.recovered = recovered.promise;
    this.opened = opened.promise;
    this.gone = gone.promise;
    // Who waits for them hears; nobody has to.
    this.recovered.catch(() => undefined);
    this.opened.catch(() => undefined);
    const fail = (cause: Error): void => {
      recovered.reject(cause);
      opened.reject(cause);
    };
    this.#worker.on('message', (message: FromWorker) => {
      switch (message.kind) {
        case 'lines':
          return events.lines(message.lines);
        case 'quarantine':
          return events.quarantine(message.peer);
        case 'policyFailing':
          return events.policyFailing(message.bundle, message.detail);
        case 'device':
          return events.device(message.news);
        case 'recovered':
          return recovered.resolve();
        case 'opened':
          this.#isOpen = true;
          return opened.resolve(message.linkPort);
        case 'answer':
          return this.#waiting.get(message.id)?.(message.value);
        case 'failed':
          fail(
            message.problems === undefined ? new Error(message.detail) : new ConfigError(message.problems),
          );
          return this.end(message.detail);
        case 'stopped':
          return this.end('stopped');
      }
    });
    this.#worker.on('error', (thrown) => (this.#why = describe(thrown)));
    this.#worker.on('exit', () => {
      this.#isGone = true;
      fail(new Error(`worker ${data.worker}: ${this.#why}`));
      for (const answer of this.#waiting.values()) answer(undefined);
      gone.resolve(this.#why);
    });
  }

  /** Carries exchanges. */
  get isOpen(): boolean {
    return this.#isOpen && !this.isEnding;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** Gone, or about to be. */
  get isEnding(): boolean {
    return this.#isEnding || this.#isGone;
  }

  /** What is told before its doors open is done before they are. */
  tell(message: ToWorker): void {
    if (!this.#isGone) this.#worker.postMessage(message);
  }

  /** @returns undefined when no answer came in time, or the thread ended */
  ask<Q extends keyof Questions>(
    kind: Q,
    ask: Questions[Q]['ask'],
    patienceMs = ANSWER_MS,
  ): Promise<Questions[Q]['answer'] | undefined> {
    if (this.#isGone) return Promise.resolve(undefined);
    const id = ++this.#nextId;
    return new Promise((resolve) => {
      const settle = (answer: unknown): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(answer as Questions[Q]['answer'] | undefined); // worker.ts answers each kind with its type
      };
      const timer = setTimeout(() => settle(undefined), patienceMs);
      this.#waiting.set(id, settle);
      // A union of kinds cannot be built from a type parameter.
      this.tell({ kind, id, ...ask } as unknown as ToWorker);
    });
  }

  /** Ends the thread at whatever instruction it is; what it has open is closed by the time it is `gone`. */
  end(why: string): void {
    if (this.isEnding) return;
    this.#isEnding = true;
    this.#why = why;
    void this.#worker.terminate();
  }
}
