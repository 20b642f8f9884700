import { Agent, request as httpsRequest } from 'node:https';
import type { ClientRequest } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { EXPORTER_BYTES, EXPORTER_LABEL } from '../device/binding.ts';
import { DEVICE } from '../message/device-field.ts';

/** What a connection of this machine shows: the value of its `T-Road-Device` field, or nothing. */
export type Presenter = (connection: {
  /** RFC 9266 value. */
  readonly exporter: Buffer;
  /** The same object for all requests on one connection. */
  readonly id: object;
}) => Promise<string | undefined>;

export interface AttestedClientOptions {
  /** https URL of the gateway. */
  readonly gateway: string;
  /** PEM: authorities of the gateway's certificate, this machine's certificate and its key. */
  readonly ca: string | Buffer;
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  readonly present: Presenter;
  readonly maxConnections?: number;
}

/** One request; header fields as Node has them. */
export interface AttestedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | number | readonly string[]>>;
}

/**
 * Connections of a client system to its gateway, each bound to the TPM of this machine: before a request leaves, it gets
 * what proves the machine on the connection that it goes over.
 */
export class AttestedClient {
  readonly #options: AttestedClientOptions;
  readonly #url: URL;
  readonly #agent: Agent;

  /** @throws TypeError for an URL that is not https */
  constructor(options: AttestedClientOptions) {
    this.#options = options;
    this.#url = new URL(options.gateway);
    if (this.#url.protocol !== 'https:') throw new TypeError(`${options.gateway}: the gateway speaks https`);
    const { ca, cert, key, maxConnections = 64 } = options;
    this.#agent = new Agent({
      ca,
      cert,
      key,
      keepAlive: true,
      maxSockets: maxConnections,
      minVersion: 'TLSv1.3',
      maxCachedSessions: 0, // a resumed session has no exporter of its own
    });
  }

  /**
   * @param opened told at once, so that the request can be given up while it waits for a connection
   * @returns a request that may be written to; its head is not sent yet
   */
  async open(
    { method, path, headers }: AttestedRequest,
    opened: (request: ClientRequest) => void = () => undefined,
  ): Promise<ClientRequest> {
    const { hostname, port } = this.#url;
    const host = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
    const request = httpsRequest({ host, port, method, path, agent: this.#agent });
    opened(request);
    for (const [name, value] of Object.entries(headers)) request.setHeader(name, value);
    request.setHeader('host', this.#url.host);
    const socket = await connected(request);
    const exporter = socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
    const field = await this.#options.present({ exporter, id: socket });
    if (field !== undefined) request.setHeader(DEVICE, field);
    return request;
  }

  close(): void {
    this.#agent.destroy();
  }
}

function connected(request: ClientRequest): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    request.once('error', reject);
    request.once('close', () => reject(new Error('given up')));
    request.once('socket', (plain) => {
      // An https agent makes no other sockets.
      const socket = plain as TLSSocket;
      // A pooled one has long finished its handshake.
      if (socket.getProtocol() !== null && socket.authorized) resolve(socket);
      else socket.once('secureConnect', () => resolve(socket));
    });
  });
}
