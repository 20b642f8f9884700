import type { DpopKey } from './dpop.ts';
import { ask, type Answer } from './http.ts';

/** Who stands behind a request, and what shows it. */
export interface Credential {
  readonly assertion: string;
  /** Key the assertion is bound to (RFC 9449); one that is bound to a certificate needs none here. */
  readonly key?: DpopKey | undefined;
}

/** What is missing, as the gateway says it (RFC 9470 §3): a client that follows it succeeds. */
export interface StepUp {
  readonly error: string | undefined;
  readonly acr: string | undefined;
  readonly maxAgeSeconds: number | undefined;
}

export interface GatewayClientOptions {
  /** Base URL of the gateway's listener for information systems. */
  readonly url: string;
  /** Scheme and authority that proofs name, where a proxy stands before the gateway (`troad device proxy`). */
  readonly origin?: string;
  /** X-Road-Client: the subsystem that asks. */
  readonly client: string;
  readonly ca?: string;
  readonly certificate?: { readonly cert: string; readonly key: string };
}

/** An information system of agency A, as far as its own gateway sees it. Keeps the nonce for the next proof. */
export class GatewayClient {
  readonly #options: GatewayClientOptions;
  #nonce: string | undefined;

  constructor(options: GatewayClientOptions) {
    this.#options = options;
  }

  /** @param path from `/r1/` on */
  async call(method: string, path: string, credential?: Credential, body?: string): Promise<Answer> {
    const answer = await this.#once(method, path, credential, body);
    // RFC 9449 §9: the first proof cannot know the nonce, and nonces age.
    const wanted = /\berror="use_dpop_nonce"/.test(answer.headers['www-authenticate'] ?? '');
    return wanted && credential?.key !== undefined ? this.#once(method, path, credential, body) : answer;
  }

  async #once(method: string, path: string, credential?: Credential, body?: string): Promise<Answer> {
    const { url: base, origin = base, client, ca, certificate } = this.#options;
    const url = base + path;
    const { assertion, key } = credential ?? {};
    const answer = await ask(url, {
      method,
      ...(body === undefined ? {} : { body }),
      ...(ca === undefined ? {} : { ca }),
      ...certificate,
      headers: {
        'x-road-client': client,
        ...(assertion === undefined ? {} : { 't-road-assertion': assertion }),
        ...(key === undefined
          ? {}
          : { dpop: key.proof({ method, url: origin + path, nonce: this.#nonce, assertion }) }),
      },
    });
    const nonce = answer.headers['dpop-nonce'];
    if (typeof nonce === 'string') this.#nonce = nonce;
    return answer;
  }
}

/** Reads the challenge of a 401; undefined for every other answer. */
export function stepUpOf({ status, headers }: Answer): StepUp | undefined {
  const challenge = headers['www-authenticate'];
  if (status !== 401 || challenge === undefined) return undefined;
  const parameter = (name: string): string | undefined =>
    new RegExp(`\\b${name}=(?:"([^"]*)"|([^\\s,]+))`)
      .exec(challenge)
      ?.slice(1)
      .find((text) => text !== undefined);
  const maxAge = parameter('max_age');
  return {
    error: parameter('error'),
    acr: parameter('acr_values'),
    maxAgeSeconds: maxAge === undefined ? undefined : Number(maxAge),
  };
}
