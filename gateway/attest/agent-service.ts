import { createServer, type IncomingMessage, type Server } from 'node:http';
import { randomUUID, X509Certificate } from 'node:crypto';
import { base64url, sha256 } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import { describe } from '../core/errors.ts';
import type { DeviceAgent, Result } from './agent.ts';
import { AttestorRefused } from './attestor-client.ts';
import { answer, answerThrown, readBody } from './http.ts';
import { Refused } from './refused.ts';
import { Shape } from './shape.ts';

/** What the agent tells its operator. */
export interface AgentEvents {
  attested(lifeSeconds: number): void;
  failed(why: string, retryMs: number): void;
}

export interface AgentServiceOptions {
  readonly agent: Pick<DeviceAgent, 'attest' | 'bind' | 'device' | 'name'>;
  /** Gateway that results are for. */
  readonly audience: string;
  /** TLS certificate that is shown to it, PEM. */
  readonly certificate: string | Buffer;
  readonly clock: Clock;
  /** From 0 to 1, for spreading renewals: thousands of devices must not come at once. */
  readonly jitter: () => number;
  readonly events: AgentEvents;
}

export interface AgentStatus {
  readonly device: string;
  readonly name: string;
  readonly audience: string;
  /** `current`: a result is there; `none`: not yet, or no longer. */
  readonly result: 'current' | 'none';
  readonly expiresInSeconds: number;
  readonly lastFailure: string | null;
}

const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 60_000;
/** A service that is silent gets this share of what the result still lives, and so does the pause before it is asked again. */
const SHARE = 1 / 3;
const MIN_PATIENCE_MS = 3_000;
const MAX_PATIENCE_MS = 10_000;

/** Keeps one result fresh: renews at half to two thirds of its life, and tries again when that fails. */
export class AgentService {
  readonly #options: AgentServiceOptions;
  readonly #certificateSha256: string;
  #result: (Result & { readonly expires: number }) | undefined;
  #lastFailure: string | undefined;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #server: Server | undefined;
  /** Names this run: another one may have other keys, so that nothing signed before counts. */
  readonly #run = randomUUID();

  constructor(options: AgentServiceOptions) {
    this.#options = options;
    this.#certificateSha256 = base64url(sha256(new X509Certificate(options.certificate).raw));
  }

  /** Attests now and goes on until {@link stop}. Resolves after the first try, good or bad. */
  async start(): Promise<void> {
    this.#running = this.#renew();
    await this.#running;
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#running;
    clearTimeout(this.#timer);
    const server = this.#server;
    if (server === undefined) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  async #renew(): Promise<void> {
    const { agent, audience, certificate, clock, events, jitter } = this.#options;
    const began = clock.monotonic();
    let next: number;
    try {
      const result = await agent.attest(audience, certificate, this.#patienceMs);
      // Counted from before the request: never later than the service counts.
      this.#result = { ...result, expires: began + result.lifeSeconds * 1000 };
      this.#lastFailure = undefined;
      this.#failures = 0;
      events.attested(result.lifeSeconds);
      next = result.lifeSeconds * 1000 * (0.5 + jitter() / 6);
    } catch (thrown) {
      // A failed renewal never lengthens what is there; and what the service refused is not shown any more.
      if (thrown instanceof AttestorRefused) this.#result = undefined;
      this.#lastFailure = describe(thrown);
      const longest = Math.min(MAX_RETRY_MS, Math.max(FIRST_RETRY_MS, this.#shareMs ?? MAX_RETRY_MS));
      next = Math.min(longest, FIRST_RETRY_MS * 2 ** this.#failures) * (0.5 + jitter() / 2);
      this.#failures += 1;
      events.failed(this.#lastFailure, next);
    }
    this.#timer = setTimeout(() => {
      this.#running = this.#renew();
    }, next);
    this.#timer.unref();
  }

  /** undefined when nothing lives. */
  get #shareMs(): number | undefined {
    const left = (this.#result?.expires ?? 0) - this.#options.clock.monotonic();
    return left > 0 ? left * SHARE : undefined;
  }

  get #patienceMs(): number {
    return Math.max(MIN_PATIENCE_MS, Math.min(MAX_PATIENCE_MS, this.#shareMs ?? MAX_PATIENCE_MS));
  }

  /** The result, while it lives. */
  get result(): string | undefined {
    const { clock } = this.#options;
    return this.#result !== undefined && clock.monotonic() < this.#result.expires
      ? this.#result.token
      : undefined;
  }

  /**
   * What a connection of this device shows.
   * @param exporter RFC 9266 value, 32 bytes
   * @throws Refused when there is no result now
   */
  async present(exporter: Uint8Array): Promise<{ readonly result: string; readonly binding: string }> {
    const result = this.#required();
    return { result, binding: await this.#options.agent.bind(exporter, this.#certificateSha256) };
  }

  #required(): string {
    const { result } = this;
    if (result === undefined) throw new Refused('evidence.policy', this.#lastFailure ?? 'not attested yet');
    return result;
  }

  get status(): AgentStatus {
    const { agent, audience, clock } = this.#options;
    const left = (this.#result?.expires ?? 0) - clock.monotonic();
    return {
      device: agent.device,
      name: agent.name,
      audience,
      result: this.result === undefined ? 'none' : 'current',
      expiresInSeconds: this.result === undefined ? 0 : Math.floor(left / 1000),
      lastFailure: this.#lastFailure ?? null,
    };
  }

  /**
   * Serves programs of this machine over a Unix socket: `GET /status`, `GET /result`, and `POST /present {exporter}` for the
   * result and the signature over their connection. Whoever may open the socket may speak for the device, on connections whose
   * certificate key he holds.
   */
  async listen(path: string): Promise<void> {
    const server = createServer((request, response) => {
      request.on('error', () => undefined);
      this.#serve(request).then(
        (body) => answer(response, 200, body),
        (thrown: unknown) => answerThrown(response, thrown),
      );
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path, readableAll: false, writableAll: false }, resolve);
    });
    this.#server = server;
  }

  async #serve(request: IncomingMessage): Promise<object> {
    switch (`${request.method ?? ''} ${request.url ?? ''}`) {
      case 'GET /status':
        return this.status;
      case 'GET /result':
        return { result: this.#required(), run: this.#run };
      case 'POST /present': {
        const body = await readBody(request, 4096);
        return this.present(Shape.receive(body, 'present', (shape) => shape.bytes('exporter', 32)));
      }
      default:
        throw new Refused('request.unknown', '');
    }
  }
}
