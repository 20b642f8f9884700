// An attestation service in our hands, true or lying, that a running sandbox is made to believe; and a device that talks
// to it over one connection, as a machine with a TPM would.
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  generateKeyPairSync,
  randomUUID,
  X509Certificate,
} from 'node:crypto';
import { once } from 'node:events';
import { readFile, rename, writeFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import tls from 'node:tls';
import { base64url, sha256 } from '../../gateway/core/bytes.ts';
import { EXPORTER_BYTES, EXPORTER_LABEL } from '../../gateway/device/binding.ts';
import type { DeviceDemand } from '../../gateway/device/demand.ts';
import { type EarContent, formatEar } from '../../gateway/device/ear.ts';
import { type Revocation, signRevocations } from '../../gateway/device/revocations.ts';
import { signToken, type TokenSigner } from '../../gateway/device/token.ts';
import type { AttestorRow, RegistryDocument } from '../../gateway/registry/document.ts';
import { openRegistry, signRegistry } from '../../gateway/registry/load.ts';
import type { SandboxReady } from '../../gateway/sandbox/sandbox.ts';
import { bound, CONTENT } from '../builders/ear.ts';

const ISSUER = 'attest.lab.example';

/** Says of any device whatever a test wants. */
export class Verifier {
  readonly signer: TokenSigner;
  readonly publicKey: KeyObject;
  readonly #jwk: Record<string, string>;
  #sequence = 0;
  #results = 0;

  constructor(issuer = ISSUER, kid = 'lab-1') {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
    this.signer = { issuer, kid, privateKey };
    this.publicKey = publicKey;
    this.#jwk = { kty: 'EC', crv: 'P-256', x, y };
  }

  row(changes: Partial<AttestorRow>): AttestorRow {
    return {
      issuer: this.signer.issuer,
      members: [],
      classes: ['endpoint', 'node'],
      keys: [{ kid: this.signer.kid, jwk: this.#jwk }],
      maxLifetimeSeconds: 300,
      ...changes,
    };
  }

  /** A result of now, healthy unless changed. */
  result(changes: Partial<EarContent> = {}): string {
    const issuedAt = Math.floor(Date.now() / 1000);
    const { issuer } = this.signer;
    const made = { issuer, issuedAt, expiresAt: issuedAt + 120, id: randomUUID() };
    const content = { ...CONTENT, ...made, ...changes };
    const sequence = changes.sequence ?? content.issuedAt * 1000 + (this.#results++ % 1000);
    return signToken('ear+jwt', formatEar({ ...content, sequence }), this.signer);
  }

  revocations(entries: readonly Revocation[]): string {
    return signRevocations(entries, ++this.#sequence, Math.floor(Date.now() / 1000), this.signer);
  }
}

/** Publishes a newer registry for a running sandbox. Its gateways look every second. @returns the new version */
export async function republish(
  { dir }: SandboxReady,
  change: (document: RegistryDocument) => Partial<RegistryDocument>,
): Promise<number> {
  const file = join(dir, 'registry', 'registry.json');
  const rootKey = createPrivateKey(await readFile(join(dir, 'registry', 'root.key')));
  const { document } = await openRegistry(await readFile(file), { rootKeys: [createPublicKey(rootKey)] });
  const version = document.version + 1;
  await writeFile(
    `${file}.new`,
    await signRegistry({ ...document, ...change(document), version }, [rootKey]),
  );
  await rename(`${file}.new`, file);
  return version;
}

/** The document's agreements, with demands on machines for some services. */
export const demanding = (
  { agreements }: RegistryDocument,
  demands: Readonly<Record<string, DeviceDemand>>,
): RegistryDocument['agreements'] =>
  agreements.map((row) => ({ ...row, device: demands[row.service.split('/').at(-1) ?? ''] ?? 'none' }));

export interface Answer {
  readonly status: number;
  /** Our refusal code; undefined when the service answered. */
  readonly code: string | undefined;
  readonly challenge: string | undefined;
  readonly body: string;
}

/** Of a request that is not a GET without a user. */
interface More {
  readonly method?: string;
  readonly assertion?: string;
}

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** One TLS 1.3 connection of a client system to its gateway, kept open between requests. */
export class DeviceConnection {
  readonly socket: tls.TLSSocket;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  readonly #url: URL;
  readonly #certificateSha256: string;

  private constructor(socket: tls.TLSSocket, url: URL, cert: string) {
    this.socket = socket;
    this.#url = url;
    this.#certificateSha256 = certificateSha256(cert);
    this.#agent.createConnection = () => {
      if (socket.destroyed) throw new Error('the gateway closed it'); // Node would say nothing at all
      return socket;
    };
    socket.on('error', () => undefined);
  }

  static async open(url: string, ca: string, certificate: Certificate): Promise<DeviceConnection> {
    const { hostname, port } = new URL(url);
    const socket = tls.connect({
      host: hostname,
      port: Number(port),
      servername: 'localhost',
      ca,
      ...certificate,
      ALPNProtocols: ['http/1.1'],
    });
    await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    return new DeviceConnection(socket, new URL(url), certificate.cert);
  }

  /** What the TPM signs here. */
  get binding(): string {
    const exporter = this.socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
    return bound({ exporter, certificateSha256: this.#certificateSha256, spkiSha256: '' });
  }

  /** `T-Road-Device` for this connection. */
  present(token: string): string {
    return `result="${token}", binding="${this.binding}"`;
  }

  async get(path: string, device?: string, more?: More): Promise<Answer> {
    const response = await this.begin(path, device, more);
    const body = (await buffer(response)).toString();
    const json = response.headers['content-type'] === 'application/problem+json';
    return {
      status: response.statusCode ?? 0,
      code: json ? (JSON.parse(body) as { readonly code: string }).code : undefined,
      challenge: response.headers['www-authenticate'],
      body,
    };
  }

  /** The head of the answer, its body still to be read. */
  begin(
    path: string,
    device?: string,
    { method = 'GET', assertion }: More = {},
  ): Promise<http.IncomingMessage> {
    return new Promise((resolve, reject) => {
      http
        .request(
          {
            agent: this.#agent,
            host: this.#url.hostname,
            method,
            path,
            headers: {
              'x-road-client': 'TW/GOV/A11/welfare',
              accept: 'application/problem+json',
              ...(device === undefined ? {} : { 't-road-device': device }),
              ...(assertion === undefined ? {} : { 't-road-assertion': assertion }),
            },
          },
          resolve,
        )
        .on('error', reject)
        .end();
    });
  }

  close(): void {
    this.#agent.destroy();
    this.socket.destroy();
  }
}

/** The device agent of a gateway's host (`troad device run`), which says what a test wants. */
export class LyingAgent {
  readonly #server: http.Server;
  readonly #certificateSha256: string;
  readonly #make: (mine: Partial<EarContent>) => string | undefined;
  readonly gateway: string;

  /** @param make the result; undefined: not attested */
  private constructor(agency: string, pem: string, make: (mine: Partial<EarContent>) => string | undefined) {
    this.gateway = `gw.${agency}.tw.troad.example`;
    this.#certificateSha256 = certificateSha256(pem);
    this.#make = make;
    this.#server = http.createServer((request, response) => {
      this.#answer(request).then(
        ([status, body]) => response.writeHead(status).end(JSON.stringify(body)),
        () => response.destroy(),
      );
    });
  }

  static async start(
    { dir }: Pick<SandboxReady, 'dir'>,
    agency: string,
    make: (mine: Partial<EarContent>) => string | undefined,
  ): Promise<LyingAgent> {
    const folder = join(dir, 'agencies', agency);
    const agent = new LyingAgent(agency, await readFile(join(folder, 'link.pem'), 'utf8'), make);
    await once(agent.#server.listen(join(folder, 'device-agent.sock')), 'listening');
    return agent;
  }

  async #answer(request: http.IncomingMessage): Promise<[status: number, body: object]> {
    const { exporter } = JSON.parse((await buffer(request)).toString()) as { readonly exporter: string };
    const token = this.#make({
      class: 'node',
      gateway: this.gateway,
      audience: 'TW',
      certificate: this.#certificateSha256,
      device: `host-of-${this.gateway}`.padEnd(43, 'x'),
    });
    if (token === undefined) return [503, { code: 'evidence.policy' }];
    const connection = { exporter: Buffer.from(exporter, 'base64url'), spkiSha256: '' };
    return [
      200,
      { result: token, binding: bound({ ...connection, certificateSha256: this.#certificateSha256 }) },
    ];
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Serves a verifier's list of revocations over HTTPS, as an attestation service does; questions wait for news. */
export class RevocationServer {
  readonly url: string;
  readonly #server: https.Server;
  readonly #waiting = new Set<http.ServerResponse>();
  /** Says what it has, whatever the other side has. */
  answerAll = false;
  #list: string;

  private constructor(server: https.Server, list: string) {
    this.#server = server;
    this.#list = list;
    const { port } = server.address() as AddressInfo; // a TCP server's address is one
    this.url = `https://localhost:${port}`;
    server.on('request', (request: http.IncomingMessage, response: http.ServerResponse) => {
      const known = new URL(request.url ?? '', this.url).searchParams.has('after');
      if (known && !this.answerAll) this.#waiting.add(response);
      else response.end(this.#list);
      response.on('close', () => this.#waiting.delete(response));
    });
  }

  static async start({ dir }: Pick<SandboxReady, 'dir'>, list: string, port = 0): Promise<RevocationServer> {
    const at = (name: string): Promise<Buffer> => readFile(join(dir, 'agencies', 'a11', name));
    const server = https.createServer({ cert: await at('https.pem'), key: await at('https.key') });
    await once(server.listen(port, '127.0.0.1'), 'listening');
    return new RevocationServer(server, list);
  }

  publish(list: string): void {
    this.#list = list;
    for (const response of this.#waiting) response.end(list);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export const certificateSha256 = (pem: string): string => base64url(sha256(new X509Certificate(pem).raw));
