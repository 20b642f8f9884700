import { createPublicKey } from 'node:crypto';
import { base64url, sha256, sha256Base64, utf8 } from '../../gateway/core/bytes.ts';
import type { Clock } from '../../gateway/core/clock.ts';
import type { EvidenceLog, RecordParts } from '../../gateway/evidence/log.ts';
import { formatMeta } from '../../gateway/evidence/meta-part.ts';
import { EXCHANGE, formatExchange } from '../../gateway/message/exchange-field.ts';
import { USER } from '../../gateway/message/user-field.ts';
import { MessageSigner, type Signed } from '../../gateway/message/signer.ts';
import { SigningQueue, type SigningKey } from '../../gateway/message/signing-queue.ts';
import { CONSUMER, draft, exchangeId, keyFrom, originOf, p256From, PROVIDER } from './log.ts';
import { messageKeyRow } from '../../gateway/registry/keys.ts';
import { verifierKeyOf } from '../../gateway/tlog/note.ts';

const VALIDITY = { notBefore: Date.UTC(2026, 0), notAfter: Date.UTC(2027, 0) };

/** The message key of a gateway, the same in every run: the consumer's on P-256, others Ed25519. */
export function messageKey(gateway: string): SigningKey & { readonly spki: string } {
  const privateKey = (gateway === CONSUMER ? p256From : keyFrom)(`message ${gateway}`);
  const { kid, alg, spki } = messageKeyRow(gateway, createPublicKey(privateKey), VALIDITY);
  return { kid, algorithm: alg, privateKey, spki };
}

/** The trust file for the two test gateways, as a document to be changed. */
export function trustDocument() {
  const gateway = (name: string, member: string) => {
    const { kid, algorithm: alg, spki } = messageKey(name);
    const origins = [originOf(name, 1), originOf(name, 2)];
    const logs = origins.map((origin) => ({
      origin,
      vkey: verifierKeyOf(origin, createPublicKey(keyFrom(origin))),
    }));
    const messageKeys = [{ kid, alg, spki, ...VALIDITY }];
    return { name, member, logs, messageKeys, link: [{ spki: base64url(sha256(`link ${name}`)) }] };
  };
  return { instance: 'TW', gateways: [gateway(CONSUMER, 'TW/GOV/A11'), gateway(PROVIDER, 'TW/GOV/B07')] };
}

const PACES = { soon: setImmediate, record: setImmediate };
const CONSUMER_QUEUE = new SigningQueue(messageKey(CONSUMER), PACES);
const PROVIDER_QUEUE = new SigningQueue(messageKey(PROVIDER), PACES);

/**
 * Both ends of an exchange that went well, each written by its own gateway, with real signatures. Those that are signed at
 * the same time are signed as a batch.
 */
export class ExchangePair {
  readonly n: number;
  readonly #clock: Clock;
  readonly #request: Signed;
  readonly #answer: Signed;
  readonly status: number;
  /** `T-Road-User` of the request. */
  readonly user: string | undefined;

  private constructor(
    n: number,
    clock: Clock,
    { status, user }: { status: number; user: string | undefined },
    request: Signed,
    answer: Signed,
  ) {
    this.n = n;
    this.status = status;
    this.user = user;
    this.#clock = clock;
    this.#request = request;
    this.#answer = answer;
  }

  static async sign(n: number, clock: Clock, status = 200, user?: string): Promise<ExchangePair> {
    const id = exchangeId(n);
    const exchange = (from: string, to: string) =>
      [EXCHANGE, formatExchange({ id, mode: 'full', from, to, at: clock.now() })] as const;
    const head = {
      method: 'POST',
      authority: PROVIDER,
      path: `/r1/TW/GOV/B07/housing/echo/${n}`,
      query: '',
      fields: [
        ['x-road-client', 'TW/GOV/A11/welfare'] as const,
        ['x-road-id', `client-${n}`] as const,
        exchange(CONSUMER, PROVIDER),
        ...(user === undefined ? [] : [[USER, user] as const]),
      ],
    };
    const asked = await new MessageSigner(CONSUMER_QUEUE, id, clock).requestWhole(
      head,
      sha256Base64(`question ${n}`),
    );
    const request = { kind: 'request', ...head, fields: asked.fields } as const;
    const answered = await new MessageSigner(PROVIDER_QUEUE, id, clock).responseWhole(
      status,
      [exchange(PROVIDER, CONSUMER)],
      sha256Base64(`answer ${n}`),
      request,
      {
        mode: 'full',
        label: 'final',
      },
    );
    return new ExchangePair(n, clock, { status, user }, asked, answered);
  }

  /** What the record of the request, or of the answer, holds in the given role. */
  record(k: 'req.final' | 'res.final', role: 'c' | 'p') {
    const { evidence } = k === 'req.final' ? this.#request : this.#answer;
    const text = `${k === 'req.final' ? 'question' : 'answer'} ${this.n}`;
    const [me, peer] = role === 'c' ? [CONSUMER, PROVIDER] : [PROVIDER, CONSUMER];
    return draft(k, this.n, {
      at: this.#clock.now(),
      role,
      me,
      peer,
      xid: `client-${this.n}`,
      len: text.length,
      dg: `sha-256:${sha256Base64(text)}`,
      sig: evidence.value,
      kid: evidence.kid,
      ...(k === 'res.final' ? { status: this.status } : {}),
    });
  }

  /** The sealed parts. */
  parts(k: 'req.final' | 'res.final'): RecordParts & { readonly meta: Buffer } {
    const subject = k === 'req.final' ? this.user : undefined;
    return { meta: this.#meta(k, subject), subject };
  }

  /** As it was before the `subject` part alone held who the user is. */
  oldParts(k: 'req.final' | 'res.final'): RecordParts {
    return { meta: this.#meta(k, undefined), subject: k === 'req.final' ? this.user : undefined };
  }

  #meta(k: 'req.final' | 'res.final', subject: string | undefined): Buffer {
    const { evidence } = k === 'req.final' ? this.#request : this.#answer;
    const told = { path: `/r1/TW/GOV/B07/housing/echo/${this.n}`, query: '' };
    return utf8(formatMeta(told, evidence.base, subject).join(''));
  }

  async write(
    log: EvidenceLog,
    role: 'c' | 'p',
    kinds: readonly ('req.final' | 'res.final')[] = ['req.final', 'res.final'],
  ) {
    for (const k of kinds) await log.append(this.record(k, role), this.parts(k));
  }
}
