import { Denied, Unavailable } from '../core/errors.ts';
import { sha256 } from '../core/bytes.ts';
import { NO_FIELDS, fieldValue, type Field, type Fields } from '../core/fields.ts';
import type { Outflow } from '../core/flow.ts';
import type { RequestHead } from '../core/head.ts';
import { newExchangeId, toUuid, type ExchangeId } from '../core/ids.ts';
import type { RequestView } from '../httpsig/view.ts';
import type { LinkArrival } from '../link/link.ts';
import { BodyMeter } from '../message/digest.ts';
import { EXCHANGE, formatExchange, parseExchange, type Mode } from '../message/exchange-field.ts';
import { linkFields, serviceFields } from '../message/headers.ts';
import { FULL_MODE_BYTES, INPUT, type RequestBinding } from '../message/profile.ts';
import { MessageSigner } from '../message/signer.ts';
import { CompleteMessage } from '../message/complete-message.ts';
import { parseTarget } from '../message/target.ts';
import type { ServiceAnswer, ServiceCall } from '../service/service.ts';
import { admitProvider, type Demand } from './admit.ts';
import { rootCause } from './cause.ts';
import { Dossier } from './dossier.ts';
import { gather } from './gather.ts';
import type { Gateway } from './gateway.ts';
import { Permit } from './permit.ts';
import { relay, type RelayTerms } from './relay.ts';
import { readerOf, refusalAnswer } from './respond.ts';
import { spool } from './spool.ts';

const GATHER_MS = 10;

/** The provider's side of the message path: nothing the consumer's gateway decided is trusted; all is checked again. */
export const provider =
  (gateway: Gateway) =>
  (arrival: LinkArrival): void => {
    const claimed = claimedExchange(arrival);
    const dossier = new Dossier(gateway, 'p', claimed ?? newExchangeId(gateway.random));
    void new Provision(arrival, gateway, dossier).run();
  };

class Provision {
  readonly #arrival: LinkArrival;
  readonly #gateway: Gateway;
  readonly #dossier: Dossier;
  /** The request as received; what an answer's `;req` components resolve against. */
  #request: RequestView | undefined;
  /** How much of the request was proved when the answer is signed. */
  #binding: RequestBinding | undefined;
  #call: ServiceCall | undefined;
  #answered = false;
  #gone: Error | undefined;

  constructor(arrival: LinkArrival, gateway: Gateway, dossier: Dossier) {
    this.#arrival = arrival;
    this.#gateway = gateway;
    this.#dossier = dossier;
  }

  async run(): Promise<void> {
    this.#arrival.onGone((cause) => {
      this.#gone = new Unavailable('response.receiver_gone', cause.message, { cause });
      this.#call?.abort(this.#gone);
    });
    try {
      const head = this.#readHead();
      const demand = admitProvider(head, this.#arrival.session, this.#gateway, this.#dossier);
      const { permit, call, upload } = await this.#forward(demand);
      const answer = await answerOf(call, upload);
      await this.#answerWith(answer, permit, demand);
      this.#dossier.completed();
      // The service answered before it had everything: what was still coming has no receiver any more.
      if (this.#binding?.label === 'open')
        this.#arrival.inflow.destroy(new Unavailable('service.broken', 'answered early'));
    } catch (thrown) {
      await this.#refuse(rootCause(thrown, this.#gone));
    }
  }

  #readHead(): RequestHead {
    const { method, authority, path, fields } = this.#arrival.rawHead;
    this.#request = { kind: 'request', method, authority, path, query: '', fields: NO_FIELDS };
    const target = parseTarget(path);
    const head = { method, authority, ...target, fields: linkFields(fields) };
    this.#request = { kind: 'request', ...head };
    this.#binding = bindingOf(head.fields);
    return head;
  }

  /** To the service: at once and whole, or cut through with the end held back, or spooled and verified first. */
  async #forward(
    demand: Demand,
  ): Promise<{ permit: Permit; call: ServiceCall; upload: Promise<void> | undefined }> {
    const { signed, grant, service } = demand;
    const { limits, verifier } = this.#gateway;
    const meter = new BodyMeter();
    const announced = signed.exchange.length;
    if (announced !== undefined && announced > service.maxRequestBytes) {
      throw new Denied('message.too_large', `${announced} of at most ${service.maxRequestBytes} bytes`);
    }
    const complete = async (trailers: Fields): Promise<Fields> => {
      const message = CompleteMessage.verify(signed, meter, trailers, signed.exchange.from, verifier);
      await recordComplete(message);
      return NO_FIELDS;
    };
    const recordComplete = async (message: CompleteMessage): ReturnType<Dossier['requestFinal']> => {
      const receipt = await this.#dossier.requestFinal({
        mode: signed.exchange.mode,
        signature: message.evidence,
        content: { length: message.length, sha256: message.sha256 },
      });
      this.#dossier.sent.req = message.length;
      if (message.trailers !== undefined && this.#request !== undefined) {
        this.#request = { ...this.#request, trailers: message.trailers };
        this.#binding = { mode: 'stream', label: 'final' };
      }
      return receipt;
    };

    if (signed.exchange.mode === 'full') {
      const body = await gather(this.#arrival.inflow, this.#arrival.endsWithHead ? 0 : announced, {
        maxBytes: FULL_MODE_BYTES,
        waitMs: limits.bodyIdleMs,
        idleMs: limits.bodyIdleMs,
        stalled: 'message.stalled',
      });
      if (body.kind !== 'whole') throw new Denied('message.inconsistent', 'longer than full mode allows');
      meter.update(body.bytes);
      const message = CompleteMessage.verify(signed, meter, body.trailers, signed.exchange.from, verifier);
      const permit = await Permit.issue(grant, () => recordComplete(message));
      return {
        permit,
        call: this.#callService(demand, { kind: 'whole', bytes: body.bytes }),
        upload: undefined,
      };
    }

    const permit = await Permit.issue(grant, () =>
      this.#dossier.open({ mode: 'stream', signature: signed.evidence }),
    );
    const terms = uploadTerms(announced, service.maxRequestBytes, limits.bodyIdleMs);
    if (service.delivery === 'verified') {
      const spooled = await spool(permit, this.#arrival.inflow, meter, terms, limits, complete);
      const call = this.#callService(demand, { kind: 'stream', length: meter.length });
      const upload = spooled.sendTo(call.outflow);
      upload.catch(() => undefined); // told through the call's answer
      return { permit, call, upload };
    }
    const call = this.#callService(
      demand,
      announced === undefined ? { kind: 'stream' } : { kind: 'stream', length: announced },
    );
    const upload = relay(permit, this.#arrival.inflow, call.outflow, meter, terms, complete);
    upload.catch(() => undefined); // awaited in answerOf
    return { permit, call, upload };
  }

  #callService(demand: Demand, body: Parameters<Demand['service']['hop']['call']>[0]['body']): ServiceCall {
    if (this.#gone !== undefined) throw this.#gone;
    const { signed, route, agreementId, peer } = demand;
    const call = demand.service.hop.call({
      method: signed.view.kind === 'request' ? signed.view.method : '',
      pathAndQuery: route.rest + demand.query,
      fields: [
        ...signed.fields.filter(([name]) => !name.startsWith('t-road-')),
        ['x-road-service', route.service],
        ['x-road-request-id', toUuid(this.#dossier.id)],
        // Verified facts; clients cannot set these names, so the service can believe them.
        ['t-road-consumer', peer.member],
        ['t-road-consumer-gateway', peer.name],
        ['t-road-agreement', agreementId],
      ],
      body,
    });
    this.#call = call;
    return call;
  }

  async #answerWith(answer: ServiceAnswer, permit: Permit, demand: Demand): Promise<void> {
    const { limits } = this.#gateway;
    const { service } = demand;
    const fields = translated(() => serviceFields(answer.rawHeaders));
    const { status } = answer;
    if (!answer.hasBody) {
      const bytes = Buffer.alloc(0);
      await this.#answerWhole(status, fields, bytes, answer.length);
      return;
    }
    if (answer.length !== undefined && answer.length > service.maxResponseBytes) {
      throw new Unavailable('service.malformed', `answer of ${answer.length} bytes`);
    }
    const body = await gather(answer.inflow, answer.length, {
      maxBytes: FULL_MODE_BYTES,
      waitMs: GATHER_MS,
      idleMs: service.timeoutMs,
      stalled: 'service.timeout',
    });
    if (body.kind === 'whole') {
      await this.#answerWhole(status, fields, body.bytes);
      return;
    }
    const meter = new BodyMeter();
    const signer = this.#signer();
    const { request, binding } = this.#asked();
    const plain = [...fields, this.#exchangeField('stream', answer.length)];
    const opened = signer.responseOpen(status, plain, request, binding);
    const out = this.#send({ status, fields: opened.fields }, { kind: 'stream' });
    const terms = downloadTerms(
      answer.length,
      service.maxResponseBytes,
      Math.max(service.timeoutMs, limits.bodyIdleMs),
    );
    await relay(permit, body.inflow, out, meter, terms, async () => {
      const digest = meter.digest();
      const closing = signer.responseFinal(status, opened.fields, digest, meter.length, request, binding);
      await this.#dossier.responseFinal({
        mode: 'stream',
        signature: closing.evidence,
        content: { length: meter.length, sha256: digest },
        status,
      });
      this.#dossier.sent.res = meter.length;
      return closing.fields;
    });
  }

  async #answerWhole(status: number, fields: Fields, bytes: Buffer, announced?: number): Promise<void> {
    const { request, binding } = this.#asked();
    const digest = sha256(bytes);
    const length = announced ?? bytes.length;
    const plain = [...fields, this.#exchangeField('full', bytes.length === length ? length : undefined)];
    const { fields: sealed, evidence } = this.#signer().responseWhole(
      status,
      plain,
      digest,
      request,
      binding,
    );
    await this.#dossier.responseFinal({
      mode: 'full',
      signature: evidence,
      content: { length: bytes.length, sha256: digest },
      status,
    });
    this.#send({ status, fields: sealed }, { kind: 'whole', bytes });
    this.#dossier.sent.res = bytes.length;
  }

  #send(
    head: { status: number; fields: Fields },
    body: { kind: 'whole'; bytes: Buffer } | { kind: 'stream' },
  ): Outflow {
    if (this.#gone !== undefined) throw this.#gone;
    this.#answered = true;
    return this.#arrival.answer(head, body);
  }

  #signer(): MessageSigner {
    return new MessageSigner(this.#gateway.signingKey, this.#dossier.id, this.#gateway.clock);
  }

  #asked(): { request: RequestView; binding: RequestBinding } {
    if (this.#request === undefined || this.#binding === undefined) {
      throw new Denied('message.signature_missing', 'nothing an answer could be tied to');
    }
    return { request: this.#request, binding: this.#binding };
  }

  #exchangeField(mode: Mode, length: number | undefined): Field {
    return [
      EXCHANGE,
      formatExchange({
        id: this.#dossier.id,
        mode,
        from: this.#gateway.name,
        to: fromOf(this.#request) ?? 'unknown',
        at: this.#gateway.clock.now(),
        ...(length === undefined ? {} : { length }),
      }),
    ];
  }

  /** A refusal is an answer like any other: signed, and tied to what was asked, as far as there is something to tie it to. */
  async #refuse(thrown: unknown): Promise<void> {
    const cause = thrown instanceof Error ? thrown : new Error(String(thrown));
    this.#call?.abort(cause);
    await this.#dossier.refused(thrown, this.#arrival.session.remote);
    if (this.#answered || this.#gone !== undefined) {
      this.#arrival.abort(cause);
      return;
    }
    const reader = readerOf(this.#request?.fields ?? NO_FIELDS, this.#gateway.spelling);
    const { head, bytes } = refusalAnswer(thrown, toUuid(this.#dossier.id), reader);
    this.#answered = true;
    try {
      const { request, binding } = this.#asked();
      const fields = [...head.fields, this.#exchangeField('full', bytes.length)];
      const sealed = this.#signer().responseWhole(head.status, fields, sha256(bytes), request, binding);
      this.#arrival.answer({ status: head.status, fields: sealed.fields }, { kind: 'whole', bytes });
    } catch {
      // The request had no readable signature input: nothing of it can be covered, and the peer will not believe
      // more than that it was refused.
      this.#arrival.answer({ status: head.status, fields: head.fields }, { kind: 'whole', bytes });
    }
  }
}

/**
 * The service's answer. A request that failed on its way (digest, signature, consumer gone) is told rather than the
 * broken call it caused; one that the service did not want to read to its end is not a failure.
 */
async function answerOf(call: ServiceCall, upload: Promise<void> | undefined): Promise<ServiceAnswer> {
  if (upload === undefined) return call.answer;
  const failed = upload.then(
    () => call.answer,
    (cause: unknown) => {
      if (cause instanceof Denied) throw cause;
      return call.answer;
    },
  );
  return Promise.race([call.answer, failed]);
}

/** What a service sends that we cannot carry is its failure, not the requester's. */
function translated(read: () => Fields): Fields {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof Denied) throw new Unavailable('service.malformed', cause.message, { cause });
    throw cause;
  }
}

/** What an answer to these header fields can be tied to, by the label that is there. Says nothing about validity. */
function bindingOf(fields: Fields): RequestBinding | undefined {
  const input = fieldValue(fields, INPUT) ?? '';
  if (input.startsWith('final=')) return { mode: 'full', label: 'final' };
  if (input.startsWith('open=')) return { mode: 'stream', label: 'open' };
  return undefined;
}

function claimedExchange(arrival: LinkArrival): ExchangeId | undefined {
  const value = arrival.rawHead.fields.find(([name]) => name === EXCHANGE)?.[1];
  try {
    return parseExchange(value).id;
  } catch {
    return undefined;
  }
}

function fromOf(request: RequestView | undefined): string | undefined {
  try {
    return parseExchange(fieldValue(request?.fields ?? NO_FIELDS, EXCHANGE)).from;
  } catch {
    return undefined;
  }
}

const uploadTerms = (length: number | undefined, maxBytes: number, idleMs: number): RelayTerms => ({
  length,
  maxBytes,
  idleMs,
  tooLarge: 'message.too_large',
  wrongLength: 'message.length_mismatch',
  stalled: 'message.stalled',
});

const downloadTerms = (length: number | undefined, maxBytes: number, idleMs: number): RelayTerms => ({
  length,
  maxBytes,
  idleMs,
  tooLarge: 'service.malformed',
  wrongLength: 'service.broken',
  stalled: 'response.stalled',
});
