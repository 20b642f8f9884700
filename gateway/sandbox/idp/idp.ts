import {
  createServer as createPlainServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server';
import type { Provider } from 'oidc-provider';
import type { EpochMs } from '../../core/clock.ts';
import { ACR, leastOf, levelOf } from './levels.ts';
import { SCRIPT, STYLE, enrolPage, signInPage } from './pages.ts';
import { NotAccepted, Passkeys } from './passkeys.ts';
import { personOf, type Person } from './people.ts';
import { requirePackages } from './packages.ts';
import { createProvider, type ProviderOptions } from './provider.ts';
import { forgetAccount, type Entries } from './store.ts';
import { REASONS, Transmitter, type Signal, type Told, type TransmitterOptions } from './transmitter.ts';

export interface IdpOptions extends Omit<ProviderOptions, 'issuer' | 'clients' | 'entries'> {
  /** Registered applications; some of their addresses are known only when the listeners are open. */
  readonly clients: ProviderOptions['clients'];
  readonly tls: { readonly key: string; readonly cert: string; readonly ca: string };
  /** Where the public keys of enrolled passkeys are kept. */
  readonly passkeysFile: string;
  readonly now: () => EpochMs;
  /** Ports of the two listeners; 0 lets the system choose. */
  readonly ports: { readonly issuer: number; readonly browser: number };
  /** Gateways that hear of sessions that end. */
  readonly signals: Pick<TransmitterOptions, 'key' | 'receivers'>;
}

const BODY_BYTES = 64 * 1024;
/** The sandbox may say that a sign-in was long ago, for example to see what becomes of it; never that it is to come. */
const MAX_AGE_SECONDS = 30 * 86_400;

/** Everything comes from here, nothing runs inline, nobody frames it. */
export const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const;

interface Parts {
  readonly provider: Provider;
  readonly passkeys: Passkeys;
  readonly answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
}

/**
 * Agency A's identity provider: OpenID Connect and passkey sign-in on two listeners of one process. HTTPS is the issuer and
 * what programs use (also with client certificates); plain HTTP on loopback is for browsers, which allow passkeys on
 * `localhost` but not on pages whose certificate they do not know.
 */
export class Idp {
  readonly issuer: string;
  /** Base URL for browsers. */
  readonly browserUrl: string;
  readonly #servers: readonly Server[];
  readonly #options: IdpOptions;
  readonly #entries: Entries = new Map();
  readonly #transmitter: Transmitter;
  #parts: Promise<Parts> | undefined;

  private constructor(options: IdpOptions, issuer: string, browserUrl: string, servers: readonly Server[]) {
    this.#options = options;
    this.issuer = issuer;
    this.browserUrl = browserUrl;
    this.#servers = servers;
    this.#transmitter = new Transmitter({ ...options.signals, issuer, now: options.now });
    for (const server of servers) {
      server.on('request', (request: IncomingMessage, response: ServerResponse) => {
        void this.#serve(request, response);
      });
    }
  }

  /** @throws PackageMissing */
  static async start(options: IdpOptions): Promise<Idp> {
    requirePackages();
    const { key, cert, ca } = options.tls;
    // Browsers have no certificate, and show one only to those who name its CA: asking does not disturb them.
    const tls = createTlsServer({ key, cert, ca, requestCert: true, rejectUnauthorized: false });
    const plain = createPlainServer();
    const [issuer, browserUrl] = [
      await listen(tls, 'https', options.ports.issuer),
      await listen(plain, 'http', options.ports.browser),
    ];
    return new Idp(options, issuer, browserUrl, [tls, plain]);
  }

  async close(): Promise<void> {
    for (const server of this.#servers) {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      // The libraries are loaded when somebody comes: most sandboxes are started for something else.
      this.#parts ??= this.#load();
      const parts = await this.#parts;
      if (!this.#isOurHost(request)) throw new HttpProblem(421, 'open this as localhost');
      if (!(await this.#page(request, response, parts))) await parts.answer(request, response);
    } catch (thrown) {
      if (response.headersSent) {
        response.destroy();
        return;
      }
      const status =
        thrown instanceof HttpProblem ? thrown.status : thrown instanceof NotAccepted ? 403 : 500;
      const error = thrown instanceof Error ? thrown.message : 'failed';
      send(response, status, 'application/json', JSON.stringify({ error }));
    }
  }

  async #load(): Promise<Parts> {
    const { issuer, browserUrl } = this;
    const { passkeysFile, now } = this.#options;
    const [provider, passkeys] = await Promise.all([
      createProvider({ ...this.#options, issuer, entries: this.#entries }),
      Passkeys.open(passkeysFile, [issuer, browserUrl], now),
    ]);
    return { provider, passkeys, answer: provider.callback() };
  }

  /** A page of another site that resolves its name to loopback must not reach us (DNS rebinding). */
  #isOurHost({ headers }: IncomingMessage): boolean {
    return [this.issuer, this.browserUrl].some((url) => new URL(url).host === headers.host);
  }

  /** @returns whether it was one of ours; all else is the provider's */
  async #page(request: IncomingMessage, response: ServerResponse, parts: Parts): Promise<boolean> {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const [, interaction, step = ''] = /^\/interaction\/[\w-]+(?:\/(options|finish))?$/.exec(pathname)
      ? pathname.split('/').slice(1)
      : [];
    const route = `${request.method ?? ''} ${interaction === undefined ? pathname : `/interaction/${step}`}`;
    switch (route) {
      case 'GET /':
      case 'GET /enrol':
        send(response, 200, 'text/html; charset=utf-8', enrolPage());
        return true;
      case 'GET /style.css':
        send(response, 200, 'text/css', STYLE);
        return true;
      case 'GET /passkey.js':
        send(response, 200, 'text/javascript', SCRIPT);
        return true;
      case 'POST /enrol/options':
        sendJson(response, await parts.passkeys.enrolmentOptions(personIn(await this.#json(request))));
        return true;
      case 'POST /enrol/finish': {
        const body = await this.#json(request);
        // The library checks every member of what it is given.
        await parts.passkeys.enrol(personIn(body), body['response'] as RegistrationResponseJSON);
        sendJson(response, {});
        return true;
      }
      case 'POST /sessions/end': {
        const body = await this.#json(request);
        sendJson(response, { told: await this.#endSessions(personIn(body), text(body['type'])) });
        return true;
      }
      case 'POST /devices/end': {
        const body = await this.#json(request);
        const told = await this.#transmitter.accuse(text(body['attestor']), text(body['device']));
        sendJson(response, { told });
        return true;
      }
      case 'GET /interaction/': {
        const { params } = await parts.provider.interactionDetails(request, response);
        const maxAge = Number(params['max_age'] ?? Number.NaN);
        send(
          response,
          200,
          'text/html; charset=utf-8',
          signInPage(
            String(params['client_id']),
            leastOf(text(params['acr_values'])),
            Number.isNaN(maxAge) ? undefined : maxAge,
          ),
        );
        return true;
      }
      case 'POST /interaction/options': {
        await this.#json(request);
        const { uid, params } = await parts.provider.interactionDetails(request, response);
        const least = leastOf(text(params['acr_values']));
        sendJson(
          response,
          await parts.passkeys.signInOptions(uid, least !== undefined && least !== ACR.aal1),
        );
        return true;
      }
      case 'POST /interaction/finish':
        sendJson(response, { next: await this.#finish(request, response, parts) });
        return true;
      default:
        return false;
    }
  }

  /**
   * Ends all sessions of a person here, then tells the gateways, so that running exchanges end, too.
   * @param type of the event: why they end
   */
  async #endSessions({ subject }: Person, type = 'session-revoked'): Promise<Told[]> {
    const content = REASONS[type];
    if (content === undefined)
      throw new HttpProblem(400, `type: expected ${Object.keys(REASONS).join(', ')}`);
    forgetAccount(this.#entries, subject);
    return this.#transmitter.send({
      about: { format: 'iss_sub', iss: this.issuer, sub: subject },
      type: type as Signal['type'] /* a key of the table */,
      content,
    });
  }

  async #finish(request: IncomingMessage, response: ServerResponse, parts: Parts): Promise<string> {
    const body = await this.#json(request);
    const { uid } = await parts.provider.interactionDetails(request, response);
    // The library checks every member of what it is given.
    const use = await parts.passkeys.signIn(uid, body['response'] as AuthenticationResponseJSON);
    const age = body['ageSeconds'] ?? 0;
    if (typeof age !== 'number' || !(age >= 0 && age <= MAX_AGE_SECONDS))
      throw new HttpProblem(400, 'ageSeconds');
    const ts = Math.floor(this.#options.now() / 1000 - age);
    const { acr, amr } = levelOf(use);
    return parts.provider.interactionResult(
      request,
      response,
      { login: { accountId: use.subject, acr, amr: [...amr], ts } },
      { mergeWithLastSubmission: false },
    );
  }

  /** Body of a request that our own page (or a program, which has no Origin) sent. */
  async #json(request: IncomingMessage): Promise<Record<string, unknown>> {
    const { origin } = request.headers;
    if (origin !== undefined && origin !== this.issuer && origin !== this.browserUrl)
      throw new HttpProblem(403, 'another origin');
    if (request.headers['content-type'] !== 'application/json')
      throw new HttpProblem(415, 'JSON is expected');
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > BODY_BYTES) throw new HttpProblem(413, 'too long');
      chunks.push(chunk);
    }
    try {
      const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
      if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value));
    } catch {
      // falls through: no JSON and not an object are one mistake
    }
    throw new HttpProblem(400, 'a JSON object is expected');
  }
}

class HttpProblem extends Error {
  override readonly name = 'HttpProblem';
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

function personIn(body: Record<string, unknown>): Person {
  const person = personOf(text(body['login']) ?? '');
  if (person === undefined) throw new HttpProblem(404, 'no such person');
  return person;
}

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { ...SECURITY_HEADERS, 'content-type': type });
  response.end(body);
}

const sendJson = (response: ServerResponse, value: unknown): void =>
  send(response, 200, 'application/json', JSON.stringify(value));

async function listen(server: Server, scheme: string, wanted: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(wanted, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo; // a TCP server's address is one
  return `${scheme}://localhost:${port}`;
}
