import { randomBytes, sign, type KeyObject } from 'node:crypto';
import type { EpochMs } from '../../core/clock.ts';
import { ask } from '../client/http.ts';

/** A gateway that wants to hear of sessions that end: a push stream of SSF 1.0. */
export interface Receiver {
  /** Its `aud`, in events as in assertions. */
  readonly audience: string;
  /** Where events are pushed (RFC 8935). */
  readonly url: string;
}

export interface TransmitterOptions {
  readonly issuer: string;
  readonly key: { readonly kid: string; readonly privateKey: KeyObject };
  readonly receivers: readonly Receiver[];
  readonly now: () => EpochMs;
}

/** How one receiver took an event. */
export interface Told {
  readonly audience: string;
  /** 202: it has had its effect. */
  readonly status: number;
  /** From sending the event to the receiver's word that it has had its effect. */
  readonly elapsedMs: number;
}

const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/';

/** What the provider tells gateways about its users and their machines. `content`: members of the event besides its time. */
export interface Signal {
  /** Subject identifier (RFC 9493). */
  readonly about: Readonly<Record<string, unknown>>;
  readonly type: 'session-revoked' | 'credential-change' | 'device-compliance-change';
  readonly content: Readonly<Record<string, unknown>>;
}

/** Events that end sessions, and what CAEP wants to be told beside. */
export const REASONS: Readonly<Record<string, Signal['content'] | undefined>> = {
  'session-revoked': { initiating_entity: 'user' },
  'credential-change': { change_type: 'revoke', credential_type: 'fido2-platform' },
  'device-compliance-change': { previous_status: 'compliant', current_status: 'not-compliant' },
} satisfies Record<Signal['type'], Signal['content']>;

/** The provider's side of shared signals: signs security events (RFC 8417) and pushes them to the gateways. */
export class Transmitter {
  readonly #options: TransmitterOptions;

  constructor(options: TransmitterOptions) {
    this.#options = options;
  }

  send(signal: Signal): Promise<Told[]> {
    return Promise.all(this.#options.receivers.map((receiver) => this.#push(receiver, signal)));
  }

  /** A machine is not as it should be, whoever uses it. */
  accuse(attestor: string | undefined, name: string | undefined): Promise<Told[]> {
    const type = 'device-compliance-change';
    const device = { format: 'iss_sub', iss: attestor, sub: name };
    return this.send({ about: { format: 'complex', device }, type, content: REASONS[type] ?? {} });
  }

  async #push({ audience, url }: Receiver, { about, type, content }: Signal): Promise<Told> {
    const { issuer, now } = this.#options;
    const seconds = Math.floor(now() / 1000);
    const body = this.#sign({
      iss: issuer,
      iat: seconds,
      jti: randomBytes(16).toString('base64url'),
      aud: audience,
      sub_id: about,
      events: { [CAEP + type]: { event_timestamp: seconds, ...content } },
    });
    const began = performance.now();
    const headers = { 'content-type': 'application/secevent+jwt', accept: 'application/json' };
    const { status } = await ask(url, { method: 'POST', headers, body });
    return { audience, status, elapsedMs: performance.now() - began };
  }

  #sign(claims: object): string {
    const { kid, privateKey } = this.#options.key;
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const input = `${part({ alg: 'ES256', kid, typ: 'secevent+jwt' })}.${part(claims)}`;
    const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    return `${input}.${signature.toString('base64url')}`;
  }
}
