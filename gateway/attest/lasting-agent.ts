import { TpmRefused } from '../tpm/command.ts';
import type { DeviceAgent } from './agent.ts';
import { TpmLost } from './tpm.ts';

type Agent = Pick<DeviceAgent, 'attest' | 'bind' | 'device' | 'name'>;

/** An agent with its keys loaded, and the way to its TPM. */
export interface OpenAgent {
  readonly agent: Agent;
  readonly close: () => Promise<void>;
}

/**
 * An agent that outlives its keys in the TPM: a machine that slept, a TPM that was reset, one that is a program and was
 * started anew have forgotten what was loaded. The use that finds out fails; the next one opens the TPM again.
 */
export class LastingAgent implements Agent {
  readonly device: string;
  readonly name: string;
  readonly #open: () => Promise<OpenAgent>;
  #current: Promise<OpenAgent> | undefined;

  private constructor(open: () => Promise<OpenAgent>, first: OpenAgent) {
    this.device = first.agent.device;
    this.name = first.agent.name;
    this.#open = open;
    this.#current = Promise.resolve(first);
  }

  /** @throws what `open` throws the first time: the machine is not enrolled, there is no TPM */
  static async open(open: () => Promise<OpenAgent>): Promise<LastingAgent> {
    return new LastingAgent(open, await open());
  }

  attest(...asked: Parameters<Agent['attest']>): ReturnType<Agent['attest']> {
    return this.#use((agent) => agent.attest(...asked));
  }

  bind(...asked: Parameters<Agent['bind']>): ReturnType<Agent['bind']> {
    return this.#use((agent) => agent.bind(...asked));
  }

  async close(): Promise<void> {
    await (await this.#current)?.close();
  }

  async #use<T>(use: (agent: Agent) => Promise<T>): Promise<T> {
    const current = (this.#current ??= this.#opened(Promise.resolve()));
    const { agent, close } = await current;
    try {
      return await use(agent);
    } catch (thrown) {
      const ofTpm = thrown instanceof TpmLost || thrown instanceof TpmRefused;
      // One use finds out; the others that were under way fail with it, and do not close what is new.
      if (ofTpm && this.#current === current) this.#current = this.#opened(close().catch(() => undefined));
      throw thrown;
    }
  }

  /** @param before a TPM serves one at a time. A failure is tried again by the next use. */
  #opened(before: Promise<void>): Promise<OpenAgent> {
    const opened = before.then(this.#open);
    opened.catch(() => {
      if (this.#current === opened) this.#current = undefined;
    });
    return opened;
  }
}
