import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { EpochMs } from '../core/clock.ts';
import { DpopKey } from './client/dpop.ts';
import { GatewayClient, stepUpOf, type Credential } from './client/gateway-client.ts';
import {
  beginSignIn,
  codeOf,
  redeem,
  SignInFailed,
  type Pending,
  type RelyingParty,
} from './client/relying-party.ts';
import { endSessions, outcomeOf } from './client/sign-out.ts';
import { SECURITY_HEADERS } from './idp/idp.ts';
import { STYLE, escapeHtml, page } from './idp/pages.ts';

export interface DeskConnections {
  readonly party: RelyingParty;
  /** Where browsers find the identity provider. */
  readonly idpUrl: string;
  /** Resource indicator for sealed assertions. */
  readonly resource: string;
  readonly gateway: GatewayClient;
}

interface Session {
  readonly key: DpopKey;
  pending?: (Pending & { readonly to: string; readonly asked: string }) | undefined;
  credential?: Credential | undefined;
  /** Who is signed in, as the provider names him. */
  subject?: string | undefined;
  /** What the last sign-in was asked for, and for which page: asking the same again would go around in circles. */
  answered?: string | undefined;
}

const MAX_SESSIONS = 100;
const HOUSING = '/r1/TW/GOV/B07/housing';
const PAGES = new Map([
  ['/cases', { title: 'Housing applications 住宅補貼案件', path: `${HOUSING}/cases` }],
  [
    '/household',
    { title: 'Household register 戶籍資料', path: `${HOUSING}/registry/households/H-63-000417` },
  ],
]);

/**
 * A web application of agency A, as an agency would write one: it signs its users in at the agency's provider, calls the
 * services of agency B through its own gateway, and follows the gateway when that asks for a stronger or newer sign-in.
 */
export class Desk {
  /** As browsers open it: passkeys work on `localhost`. */
  readonly url: string;
  readonly #server: Server;
  readonly #now: () => EpochMs;
  readonly #sessions = new Map<string, Session>();
  #connections: DeskConnections | undefined;

  private constructor(server: Server, url: string, now: () => EpochMs) {
    this.#server = server;
    this.url = url;
    this.#now = now;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      void this.#serve(request, response);
    });
  }

  static async start(now: () => EpochMs, wanted: number): Promise<Desk> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(wanted, '127.0.0.1', resolve);
    });
    const { port } = server.address() as AddressInfo; // a TCP server's address is one
    return new Desk(server, `http://localhost:${port}`, now);
  }

  get redirectUri(): string {
    return `${this.url}/callback`;
  }

  /** Provider and gateway have to know our address first, and we theirs. */
  connect(connections: DeskConnections): void {
    this.#connections = connections;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      if (request.headers.host !== new URL(this.url).host)
        return send(response, 421, 'text/plain', 'open this as localhost');
      const { pathname } = new URL(request.url ?? '/', this.url);
      if (request.method === 'POST' && pathname === SIGN_OUT)
        return await this.#signOut(this.#session(request, response), request, response);
      if (request.method !== 'GET') return send(response, 405, 'text/plain', 'GET only');
      const { [pathname]: asset } = { '/style.css': STYLE } as Record<string, string | undefined>; // names of the table
      if (asset !== undefined) return send(response, 200, 'text/css', asset);
      const session = this.#session(request, response);
      if (pathname === '/') return send(response, 200, HTML, home(session.subject !== undefined));
      if (pathname === '/callback') return await this.#callback(session, request, response);
      const shown = PAGES.get(pathname);
      if (shown === undefined) return send(response, 404, 'text/plain', 'no such page');
      return await this.#show(session, response, pathname, shown);
    } catch (thrown) {
      const text = thrown instanceof Error ? thrown.message : 'failed';
      if (response.headersSent) response.destroy();
      else
        send(
          response,
          thrown instanceof SignInFailed ? 403 : 502,
          HTML,
          page('Failed', `<p>${escapeHtml(text)}</p>`),
        );
    }
    return undefined;
  }

  async #show(
    session: Session,
    response: ServerResponse,
    at: string,
    { title, path }: { readonly title: string; readonly path: string },
  ): Promise<void> {
    const { gateway } = this.#connected();
    const answer = await gateway.call('GET', path, session.credential);
    const stepUp = stepUpOf(answer);
    const asked = `${at} ${stepUp?.acr ?? ''} ${stepUp?.maxAgeSeconds ?? ''}`;
    if (stepUp !== undefined && session.answered !== asked)
      return this.#signIn(session, response, at, asked, stepUp);
    session.answered = undefined;
    const { 'x-road-request-id': exchange = '' } = answer.headers;
    const outcome =
      answer.status === 200 ? table(JSON.parse(answer.body)) : `<pre>${escapeHtml(answer.body)}</pre>`;
    const body = `${outcome}<p>status <code id="status">${answer.status}</code>, exchange <code id="exchange">${escapeHtml(String(exchange))}</code></p><p><a href="/">Back</a></p>${session.subject === undefined ? '' : SIGN_OUT_BUTTON}`;
    send(response, answer.status, HTML, page(title, body));
  }

  #signIn(
    session: Session,
    response: ServerResponse,
    to: string,
    asked: string,
    { acr, maxAgeSeconds }: { readonly acr: string | undefined; readonly maxAgeSeconds: number | undefined },
  ): void {
    const { party, idpUrl, resource } = this.#connected();
    const pending = beginSignIn(party, { acr, maxAgeSeconds, resource });
    session.pending = { ...pending, to, asked };
    response.writeHead(303, { ...SECURITY_HEADERS, location: `${idpUrl}/auth?${pending.query}` }).end();
  }

  async #callback(session: Session, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { party } = this.#connected();
    const { pending } = session;
    if (pending === undefined) throw new SignInFailed('nobody asked for this sign-in');
    session.pending = undefined; // one answer to one question
    const code = codeOf(party, pending, this.url + (request.url ?? ''));
    const { assertion, subject } = await redeem(party, pending, code, session.key);
    session.credential = { assertion, key: session.key };
    session.subject = subject;
    session.answered = pending.asked;
    response.writeHead(303, { ...SECURITY_HEADERS, location: pending.to }).end();
  }

  /** Not here alone: the provider ends its session, and both gateways hear of it before the page says so. */
  async #signOut(session: Session, request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Cookies go to every port of localhost: another page there must not sign anybody out.
    // (`Origin` is null under our referrer policy.)
    if (request.headers['sec-fetch-site'] !== 'same-origin')
      return send(response, 403, 'text/plain', 'only from a page of this application');
    const { subject } = session;
    if (subject === undefined) return send(response, 409, 'text/plain', 'nobody is signed in');
    const told = await endSessions(this.#connected().party, subject, 'session-revoked');
    session.credential = session.subject = session.answered = session.pending = undefined;
    const items = told.map((each) => `<li>${escapeHtml(outcomeOf(each))}</li>`).join('');
    return send(
      response,
      200,
      HTML,
      page('Signed out 已登出', `<ul id="told">${items}</ul><p><a href="/">Back</a></p>`),
    );
  }

  #connected(): DeskConnections {
    if (this.#connections === undefined) throw new Error('the desk is not connected yet');
    return this.#connections;
  }

  #session(request: IncomingMessage, response: ServerResponse): Session {
    const id = /(?:^|; )desk=([\w-]{22})(?:;|$)/.exec(request.headers.cookie ?? '')?.[1];
    const known = id === undefined ? undefined : this.#sessions.get(id);
    if (known !== undefined) return known;
    const fresh = randomBytes(16).toString('base64url');
    const session: Session = { key: DpopKey.create(this.#now) };
    this.#sessions.set(fresh, session);
    for (const oldest of this.#sessions.keys()) {
      if (this.#sessions.size <= MAX_SESSIONS) break;
      this.#sessions.delete(oldest);
    }
    response.setHeader('set-cookie', `desk=${fresh}; HttpOnly; SameSite=Lax; Path=/`);
    return session;
  }
}

const HTML = 'text/html; charset=utf-8';

const SIGN_OUT = '/sign-out';
const SIGN_OUT_BUTTON = `<form method="post" action="${SIGN_OUT}"><button>Sign out 登出</button></form>`;

const home = (isSignedIn: boolean): string =>
  page(
    'Welfare desk 社福櫃檯',
    `<p>An application of agency A. It asks agency B, through both gateways; who you are decides what you see.</p>
${[...PAGES].map(([at, { title }]) => `<a class="button" href="${at}">${title}</a>`).join('\n')}
${isSignedIn ? SIGN_OUT_BUTTON : ''}`,
  );

/** Whatever a service answers, as rows of name and value. */
function table(value: unknown): string {
  if (Array.isArray(value)) return value.map(table).join('');
  if (typeof value !== 'object' || value === null) return escapeHtml(String(value));
  const rows = Object.entries(value).map(
    ([name, content]) => `<tr><th>${escapeHtml(name)}</th><td>${table(content)}</td></tr>`,
  );
  return `<table>${rows.join('')}</table>`;
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { ...SECURITY_HEADERS, 'content-type': type });
  response.end(body);
}
