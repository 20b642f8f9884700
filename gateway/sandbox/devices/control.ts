import { createServer, type IncomingMessage, type Server } from 'node:http';
import { AttestorRefused } from '../../attest/attestor-client.ts';
import { answer, answerThrown, readBody } from '../../attest/http.ts';
import { Refused } from '../../attest/refused.ts';
import { Shape } from '../../attest/shape.ts';
import { BREAKS } from './breaks.ts';
import type { Intruder } from './intruder.ts';
import type { Machine } from './machine.ts';

/** The door for `troad sandbox device`: a Unix socket of the running sandbox, for its owner only. */
export class Control {
  readonly #server: Server;
  readonly #machines: readonly Machine[];
  readonly #intruder: Intruder;

  private constructor(machines: readonly Machine[], intruder: Intruder) {
    this.#machines = machines;
    this.#intruder = intruder;
    this.#server = createServer((request, response) => {
      request.on('error', () => undefined);
      this.#serve(request).then(
        (body) => answer(response, 200, body),
        (thrown: unknown) => answerThrown(response, thrown),
      );
    });
  }

  static async start(path: string, machines: readonly Machine[], intruder: Intruder): Promise<Control> {
    const control = new Control(machines, intruder);
    await new Promise<void>((resolve, reject) => {
      control.#server.once('error', reject);
      control.#server.listen({ path, readableAll: false, writableAll: false }, resolve);
    });
    return control;
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #reEnrol(): Promise<object> {
    try {
      await this.#intruder.reEnrol();
      return { refused: null };
    } catch (thrown) {
      if (!(thrown instanceof AttestorRefused)) throw thrown;
      return { refused: thrown.code };
    }
  }

  async #serve(request: IncomingMessage): Promise<object> {
    switch (`${request.method ?? ''} ${request.url ?? ''}`) {
      case 'GET /status':
        return {
          machines: this.#machines.map(({ name, status }) => ({ ...(status ?? { name, result: 'off' }) })),
        };
      case 'POST /break': {
        const body = await readBody(request, 1024);
        const what = Shape.receive(body, 'break', (shape) => shape.oneOf('what', BREAKS));
        return this.#intruder.play(what);
      }
      case 'POST /re-enrol':
        return this.#reEnrol();
      case 'POST /heal':
        return this.#intruder.heal();
      default:
        throw new Refused('request.unknown', '');
    }
  }
}
