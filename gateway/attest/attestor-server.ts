import {
  createServer as createPlainServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { ADMIN_ACTIONS } from './administration.ts';
import type { Attestor, AttestorEvents } from './attestor.ts';
import { answer, answerThrown, type Json, readBody } from './http.ts';
import { Refused } from './refused.ts';
import { Shape } from './shape.ts';

export interface AttestorServerOptions {
  readonly host: string;
  readonly port: number;
  /** PEM. */
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /** Path of a Unix socket, for the administrator on this machine: whoever may open the file may decide. */
  readonly adminSocket: string;
  readonly events: Pick<AttestorEvents, 'refused'>;
}

const SMALL = 64 * 1024;
const EVIDENCE = 1024 * 1024;
/** A gateway that waits for news gets an answer after this at the latest. */
const LONG_POLL_MS = 25_000;
const MAX_CONNECTIONS = 4096;

/** Network side of an {@link Attestor}: HTTPS (TLS 1.3) for devices and gateways, a Unix socket for administrators. */
export class AttestorServer {
  readonly #attestor: Attestor;
  readonly #events: AttestorServerOptions['events'];
  readonly #servers: Server[] = [];
  #port = 0;

  private constructor(attestor: Attestor, events: AttestorServerOptions['events']) {
    this.#attestor = attestor;
    this.#events = events;
  }

  static async start(attestor: Attestor, options: AttestorServerOptions): Promise<AttestorServer> {
    const started = new AttestorServer(attestor, options.events);
    const { cert, key, host, port, adminSocket } = options;
    const front = createServer({ cert, key, minVersion: 'TLSv1.3' }, (request, response) => {
      started.#serve(request, response, started.#front(request));
    });
    front.maxConnections = MAX_CONNECTIONS;
    front.on('secureConnection', (socket) => socket.once('close', () => attestor.closed(socket)));
    const admin = createPlainServer((request, response) => {
      started.#serve(request, response, started.#admin(request));
    });
    for (const server of [front, admin]) {
      server.requestTimeout = 30_000;
      server.headersTimeout = 10_000;
      server.keepAliveTimeout = 90_000; // a device that asked for a nonce comes back on the same connection
      started.#servers.push(server);
    }
    await listening(front, () => front.listen(port, host));
    // A server on TCP has an address with a port.
    started.#port = (front.address() as AddressInfo).port;
    await listening(admin, () => admin.listen({ path: adminSocket, readableAll: false, writableAll: false }));
    return started;
  }

  get port(): number {
    return this.#port;
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#servers.map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => resolve());
            server.closeAllConnections();
          }),
      ),
    );
  }

  #serve(request: IncomingMessage, response: ServerResponse, answered: Promise<object | string>): void {
    const { remoteAddress } = request.socket; // Node takes the socket away once the answer is out
    request.on('error', () => undefined); // the other side is gone: the answer finds out
    response.on('error', () => undefined);
    answered.then(
      (body) => answer(response, 200, body),
      (thrown: unknown) => {
        const { code, detail, alert } = answerThrown(response, thrown);
        this.#events.refused(code, detail, remoteAddress, alert);
      },
    );
  }

  async #front(request: IncomingMessage): Promise<object | string> {
    const { method = '', url = '' } = request;
    const [path = '', query = ''] = url.split('?', 2);
    switch (`${method} ${path}`) {
      case 'POST /v1/enrol/start':
        return this.#attestor.startEnrolment(await readBody(request, SMALL), request.socket);
      case 'POST /v1/enrol/finish':
        return this.#attestor.finishEnrolment(await readBody(request, SMALL));
      case 'POST /v1/attest/challenge':
        return this.#attestor.challenge(await readBody(request, SMALL), request.socket);
      case 'POST /v1/attest/evidence':
        return this.#attestor.evidence(await readBody(request, EVIDENCE), request.socket);
      case 'GET /v1/revocations':
        return this.#revocations(request, Number(new URLSearchParams(query).get('after') ?? 'NaN'));
      default:
        throw new Refused('request.unknown', method);
    }
  }

  /** Answers at once when there is news, else when there is, or after a while. */
  async #revocations(request: IncomingMessage, after: number): Promise<string> {
    if (Number.isSafeInteger(after) && after >= this.#attestor.sequence) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, LONG_POLL_MS);
        const stop = this.#attestor.onChange(done);
        request.socket.once('close', done);
        function done(): void {
          clearTimeout(timer);
          stop();
          request.socket.removeListener('close', done);
          resolve();
        }
      });
    }
    return this.#attestor.revocations();
  }

  async #admin(request: IncomingMessage): Promise<object> {
    const { method = '', url = '' } = request;
    const [, devices, name = '', what = '', ...more] = url.split('/');
    if (devices !== 'devices' || more.length > 0) throw new Refused('request.unknown', method);
    if (method === 'GET' && name === '') return { devices: this.#attestor.list() };
    if (method === 'GET' && what === 'draft') return this.#attestor.draft(name);
    const action = ADMIN_ACTIONS.find((known) => known === what);
    if (method !== 'POST' || action === undefined) throw new Refused('request.unknown', method);
    const body = await readBody(request, SMALL);
    return this.#attestor.administer(name, action, readApproval(body));
  }
}

function readApproval(body: Json): { class: 'node' | 'endpoint'; gateway: string | undefined } {
  return Shape.receive(body, 'approval', (shape) => ({
    class: shape.has('class') ? shape.oneOf('class', ['node', 'endpoint']) : 'endpoint',
    gateway: shape.has('gateway') ? shape.text('gateway', /^[a-z0-9.-]{1,253}$/) : undefined,
  }));
}

async function listening(server: Server, listen: () => void): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', resolve);
    listen();
  });
}
