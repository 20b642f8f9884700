/**
 * Clients that do little: what a load costs is taken from the machine that it loads. HTTP/1.1 as far as the service's
 * small answer needs it, the same bytes each time.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ECHO_BODY } from './backend.ts';
import { POST_BYTES } from './load-closed.ts';
import type { Target } from './subjects/subject.ts';

const TIMEOUT_MS = 10_000;
const HEAD_END = '\r\n\r\n';

/** The length that an answer's head announces, or NaN unless it is a 200 with one. */
export function announcedLength(head: string): number {
  if (!head.startsWith('HTTP/1.1 200 ')) return Number.NaN;
  return Number(/^content-length: *(\d+)\r?$/im.exec(head)?.[1]);
}

function requestBytes({ url, headers }: Target): Buffer {
  const { host, pathname, search } = new URL(url);
  const fields = Object.entries({
    host,
    ...headers,
    'content-type': 'application/octet-stream',
    'content-length': String(POST_BYTES),
  });
  const head = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.from(`POST ${pathname}${search} HTTP/1.1\r\n${head}\r\n${'x'.repeat(POST_BYTES)}`);
}

/** A connection: one request at a time. */
class EchoClient {
  readonly #socket: Socket;
  readonly #request: Buffer;
  readonly #onIdle: (client: EchoClient) => void;
  #received = '';
  #answered: ((good: boolean) => void) | undefined;

  constructor(socket: Socket, request: Buffer, onIdle: (client: EchoClient) => void) {
    this.#socket = socket;
    this.#request = request;
    this.#onIdle = onIdle;
    socket.setNoDelay(true).setEncoding('latin1').setTimeout(TIMEOUT_MS);
    socket.on('data', (text: string) => {
      this.#receive(text);
    });
    socket.on('timeout', () => {
      if (this.#answered !== undefined) socket.destroy();
    });
    socket
      .on('error', () => undefined)
      .on('close', () => {
        this.#end(false);
      });
  }

  send(answered: (good: boolean) => void): void {
    this.#received = '';
    this.#answered = answered;
    if (this.#socket.destroyed) this.#end(false);
    else this.#socket.write(this.#request);
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(text: string): void {
    this.#received += text;
    const end = this.#received.indexOf(HEAD_END);
    if (end < 0) return;
    const length = announcedLength(this.#received.slice(0, end));
    if (Number.isNaN(length)) this.close(); // what else it says would pass for the next answer
    if (!(this.#received.length - end - HEAD_END.length >= length)) return;
    this.#end(
      length === ECHO_BODY.length && this.#received.endsWith(`${HEAD_END}${ECHO_BODY.toString('latin1')}`),
    );
  }

  #end(good: boolean): void {
    const answered = this.#answered;
    if (answered === undefined) return;
    this.#answered = undefined;
    this.#onIdle(this);
    answered(good);
  }
}

/** Connections that are used in turn, so that none idles into the server's time-out. */
export class EchoClients {
  readonly #idle: EchoClient[] = [];
  readonly #all: EchoClient[] = [];
  readonly #waiting: ((good: boolean) => void)[] = [];

  static async connect(target: Target, connections: number): Promise<EchoClients> {
    const clients = new EchoClients();
    const { hostname, port } = new URL(target.url);
    const request = requestBytes(target);
    for (let n = 0; n < connections; n += 1) {
      const socket = connect(Number(port), hostname);
      await once(socket, 'connect');
      clients.#all.push(
        new EchoClient(socket, request, (client) => {
          clients.#free(client);
        }),
      );
    }
    clients.#idle.push(...clients.#all);
    return clients;
  }

  /** One request. @returns whether the answer was a 200 with the whole body */
  exchange(): Promise<boolean> {
    return new Promise((resolve) => {
      const client = this.#idle.shift();
      if (client === undefined) this.#waiting.push(resolve);
      else client.send(resolve);
    });
  }

  close(): void {
    for (const client of this.#all) client.close();
  }

  #free(client: EchoClient): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(client);
    else client.send(next);
  }
}
