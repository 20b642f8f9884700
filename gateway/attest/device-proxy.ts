import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { DEVICE } from '../message/device-field.ts';
import { AttestedClient, type AttestedClientOptions } from './attested-client.ts';
import { answer } from './http.ts';

export interface DeviceProxyOptions extends AttestedClientOptions {
  /** Loopback only: whoever reaches the port speaks as this machine's system. */
  readonly host: '127.0.0.1' | '::1';
  readonly port: number;
  readonly failed: (why: unknown) => void;
}

/** Fields that end at this hop (RFC 9110 §7.6.1), the host's name, and what only we may say. */
const OURS = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'host',
  DEVICE,
]);

/** What programs of this machine call us by. */
const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i;

/**
 * Plain HTTP on loopback for client systems that know nothing of attestation; mutual TLS to the gateway, each connection
 * bound to the machine's TPM. Bodies pass as they come, both ways.
 */
export class DeviceProxy {
  readonly #client: AttestedClient;
  readonly #server: Server;
  readonly #failed: (why: unknown) => void;

  private constructor(options: DeviceProxyOptions) {
    this.#client = new AttestedClient(options);
    this.#failed = options.failed;
    this.#server = createServer((incoming, outgoing) => {
      void this.#relay(incoming, outgoing);
    });
    this.#server.requestTimeout = 0; // an upload takes as long as it takes; the gateway ends silences
    this.#server.keepAliveTimeout = 60_000;
  }

  static async start(options: DeviceProxyOptions): Promise<DeviceProxy> {
    const proxy = new DeviceProxy(options);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      proxy.#server.listen(options.port, options.host, resolve);
    });
    return proxy;
  }

  get port(): number {
    // A server on TCP has an address with a port.
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
    this.#client.close();
  }

  async #relay(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    incoming.on('error', () => undefined); // the pipeline finds out
    outgoing.on('error', () => undefined);
    // A web page whose name was made to lead here (DNS rebinding) would speak as this machine: the gateway, which checks
    // names too, sees only the one that we give it.
    if (!LOOPBACK.test(incoming.headers.host ?? '')) {
      incoming.resume();
      answer(outgoing, 421, { code: 'proxy.host', detail: 'called by a name that is not of this machine' });
      return;
    }
    try {
      const headers = passed(incoming);
      // Node frames the body anew, but of a GET it expects none.
      if (incoming.headers['transfer-encoding'] !== undefined) headers['transfer-encoding'] = ['chunked'];
      const asked = { method: incoming.method ?? 'GET', path: incoming.url ?? '/', headers };
      const request = await this.#client.open(asked, (opening) => {
        opening.on('error', () => undefined); // told by open, or by the answer that does not come
        outgoing.once('close', () => {
          if (!outgoing.writableFinished) opening.destroy(); // the client has gone
        });
      });
      const answered = new Promise<IncomingMessage>((resolve, reject) => {
        request.once('response', resolve);
        request.once('error', reject);
      });
      // An answer may come before the request has ended, and ends it.
      const sent = pipeline(incoming, request);
      sent.catch(() => undefined);
      const response = await answered;
      outgoing.writeHead(response.statusCode ?? 502, response.statusMessage, passed(response));
      await pipeline(response, outgoing);
    } catch (thrown) {
      if (outgoing.destroyed) return;
      this.#failed(thrown);
      if (outgoing.headersSent) outgoing.destroy();
      else answer(outgoing, 502, { code: 'proxy.gateway', detail: 'the gateway did not answer' });
    }
  }
}

function passed({ headersDistinct }: IncomingMessage): Record<string, string[]> {
  const listed = new Set(
    (headersDistinct['connection'] ?? []).flatMap((value) =>
      value.split(',').map((token) => token.trim().toLowerCase()),
    ),
  );
  const fields: Record<string, string[]> = {};
  for (const [name, values] of Object.entries(headersDistinct)) {
    if (values !== undefined && !OURS.has(name) && !listed.has(name)) fields[name] = values;
  }
  return fields;
}
