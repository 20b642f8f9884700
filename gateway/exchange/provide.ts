import { Denied, Unavailable } from '../core/errors.ts';
import { NO_FIELDS, type Field, type Fields } from '../core/fields.ts';
import type { RequestHead } from '../core/head.ts';
import { newExchangeId, toUuid } from '../core/ids.ts';
import type { LinkArrival } from '../link/link.ts';
import { CompleteMessage } from '../message/complete-message.ts';
import { BodyMeter } from '../message/digest.ts';
import { REMADE } from '../message/field-names.ts';
import { serviceFields } from '../message/headers.ts';
import { FULL_MODE_BYTES } from '../message/profile.ts';
import { parseTarget } from '../message/target.ts';
import type { ServiceAnswer, ServiceCall, ServiceRequest } from '../service/service.ts';
import { admitProvider, type Demand } from './admit.ts';
import { Answering } from './answering.ts';
import { rootCause } from './cause.ts';
import { claimedExchange } from './claims.ts';
import { Dossier } from './dossier.ts';
import { gather, GATHER_MS } from './gather.ts';
import type { Gateway } from './gateway.ts';
import { GrantWatch } from './grant-watch.ts';
import { lastExit } from './last-exit.ts';
import { PacedInflow } from './pace.ts';
import { Permit } from './permit.ts';
import { relay } from './relay.ts';
import { spool } from './spool.ts';
import { serviceTerms, uploadTerms } from './terms.ts';
import { userFacts } from './users.ts';

/** The provider's side of the message path: nothing the consumer's gateway decided is trusted; all is checked again. */
export const provider =
  (gateway: Gateway) =>
  (arrival: LinkArrival): void => {
    const claimed = claimedExchange(arrival);
    const dossier = new Dossier(gateway, 'p', claimed ?? newExchangeId(gateway.random), arrival);
    new Provision(arrival, gateway, dossier).run().catch(lastExit(dossier.id, arrival, gateway.observer));
  };

/** A request on its way to the service. */
interface Forwarded {
  readonly permit: Permit;
  readonly call: ServiceCall;
  /** The body under way; undefined when it went whole. */
  readonly upload: Promise<void> | undefined;
}

class Provision {
  readonly #arrival: LinkArrival;
  readonly #gateway: Gateway;
  readonly #dossier: Dossier;
  readonly #answering: Answering;
  #call: ServiceCall | undefined;
  #gone: Error | undefined;
  readonly #watch: GrantWatch;

  constructor(arrival: LinkArrival, gateway: Gateway, dossier: Dossier) {
    this.#arrival = arrival;
    this.#gateway = gateway;
    this.#dossier = dossier;
    this.#watch = new GrantWatch(gateway, dossier, (cause) => this.#call?.abort(cause));
    this.#answering = new Answering(arrival, gateway, dossier);
  }

  async run(): Promise<void> {
    this.#arrival.onGone((cause) => {
      this.#gone = new Unavailable('response.receiver_gone', cause.message, { cause });
      this.#call?.abort(this.#gone);
    });
    try {
      const head = this.#readHead();
      const demand = await admitProvider(head, this.#arrival.session, this.#gateway, this.#dossier);
      this.#watch.begin(demand.lease, demand.duties);
      const forwarded = await this.#forward(demand);
      const answer = await answerOf(forwarded);
      await this.#answerWith(answer, forwarded.permit, demand);
      this.#dossier.completed();
      // What was still coming has no receiver any more.
      if (this.#answering.overtook)
        this.#arrival.inflow.destroy(new Unavailable('service.broken', 'answered early'));
    } catch (thrown) {
      await this.#refuse(this.#watch.revoked ?? rootCause(thrown, this.#gone));
    } finally {
      this.#watch.end();
    }
  }

  #readHead(): RequestHead {
    const { method, authority, path, canonical } = this.#arrival.rawHead;
    const head = { method, authority, ...parseTarget(path), fields: canonical() };
    this.#answering.heard(head);
    return head;
  }

  /** To the service: at once and whole, or cut through with the end held back, or spooled and verified first. */
  async #forward(demand: Demand): Promise<Forwarded> {
    const { signed, grant, service, duties } = demand;
    const { limits } = this.#gateway;
    const { length, mode } = signed.exchange;
    const { inflow, endsWithHead } = this.#arrival;
    if (length !== undefined && length > service.maxRequestBytes) {
      throw new Denied('message.too_large', `${length} of at most ${service.maxRequestBytes} bytes`);
    }
    const meter = new BodyMeter();
    if (mode === 'full') {
      const gathered = gather(inflow, endsWithHead ? 0 : length, {
        maxBytes: FULL_MODE_BYTES,
        waitMs: limits.bodyIdleMs,
        idleMs: limits.bodyIdleMs,
        stalled: 'message.stalled',
      });
      const body = gathered instanceof Promise ? await gathered : gathered;
      if (body.kind !== 'whole') throw new Denied('message.inconsistent', 'longer than full mode allows');
      duties.request.require(body.bytes.length);
      meter.update(body.bytes);
      const message = this.#verify(demand, meter, body.trailers);
      const permit = Permit.issue(grant, await this.#record(message));
      const call = this.#callService(demand, { kind: 'whole', bytes: body.bytes });
      this.#dossier.sent.req = body.bytes.length;
      return { permit, call, upload: undefined };
    }

    const opened = await this.#dossier.open({ mode: 'stream', signature: signed.evidence });
    const permit = Permit.issue(grant, opened);
    const complete = async (trailers: Fields): Promise<Fields> => {
      await this.#record(this.#verify(demand, meter, trailers));
      return NO_FIELDS; // the service gets none
    };
    const terms = uploadTerms(length, service.maxRequestBytes, limits.bodyIdleMs, duties.request);
    const paced = new PacedInflow(inflow, duties, this.#gateway.clock);
    let call: ServiceCall;
    let upload: Promise<void>;
    if (service.delivery === 'verified') {
      const { passed } = this.#gateway;
      const spooled = await spool(permit, paced, meter, { ...terms, passed }, limits, complete);
      call = this.#callService(demand, { kind: 'stream', length: meter.length });
      upload = spooled.sendTo(call.outflow).then(() => {
        this.#dossier.sent.req = meter.length;
      });
    } else {
      call = this.#callService(
        demand,
        length === undefined ? { kind: 'stream' } : { kind: 'stream', length },
      );
      const counted = { ...terms, passed: this.#dossier.counting('req') };
      upload = relay(permit, paced, call.outflow, meter, counted, complete);
    }
    upload.catch(() => undefined); // asked for in answerOf
    return { permit, call, upload };
  }

  #verify({ signed }: Demand, meter: BodyMeter, trailers: Fields): CompleteMessage {
    return CompleteMessage.verify(signed, meter, trailers, signed.exchange.from, this.#gateway.verifier);
  }

  async #record(message: CompleteMessage): ReturnType<Dossier['requestFinal']> {
    const receipt = await this.#dossier.requestFinal({
      mode: message.head.exchange.mode,
      signature: message.evidence,
      content: { length: message.length, sha256: message.sha256 },
    });
    this.#answering.proved(message);
    return receipt;
  }

  #callService(demand: Demand, body: ServiceRequest['body']): ServiceCall {
    if (this.#gone !== undefined) throw this.#gone;
    if (this.#watch.revoked !== undefined) throw this.#watch.revoked;
    const { signed, method, route, query, agreementId, peer, service, lease } = demand;
    const fields: Field[] = [];
    for (const field of signed.fields) {
      const [name] = field;
      if (!name.startsWith('t-road-') && !REMADE.has(name)) fields.push(field);
    }
    fields.push(
      ['x-road-service', route.service],
      ['x-road-request-id', toUuid(this.#dossier.id)],
      // Verified facts; clients cannot set these names, so the service can believe them.
      ['t-road-consumer', peer.member],
      ['t-road-consumer-gateway', peer.name],
      ['t-road-agreement', agreementId],
      ...userFacts(lease.user),
    );
    const call = service.hop.call({ method, pathAndQuery: route.rest + query, fields, body });
    this.#call = call;
    return call;
  }

  async #answerWith(answer: ServiceAnswer, permit: Permit, { service, duties }: Demand): Promise<void> {
    const { status, length } = answer;
    const fields = translated(() => serviceFields(answer.rawHeaders));
    if (!answer.hasBody) return this.#answering.whole(status, fields, Buffer.alloc(0));
    if (length !== undefined && length > service.maxResponseBytes) {
      throw new Unavailable('service.malformed', `answer of ${length} bytes`);
    }
    duties.response.require(length);
    const gathered = gather(answer.inflow, length, {
      maxBytes: FULL_MODE_BYTES,
      waitMs: GATHER_MS,
      idleMs: service.timeoutMs,
      stalled: 'service.timeout',
    });
    const body = gathered instanceof Promise ? await gathered : gathered;
    if (this.#gone !== undefined) throw this.#gone;
    if (body.kind === 'whole') {
      duties.response.require(body.bytes.length);
      return this.#answering.whole(status, fields, body.bytes);
    }
    const meter = new BodyMeter();
    const { out, close } = await this.#answering.stream(status, fields, length);
    const idleMs = Math.max(service.timeoutMs, this.#gateway.limits.bodyIdleMs);
    const terms = {
      ...serviceTerms(length, service.maxResponseBytes, idleMs, duties.response),
      passed: this.#dossier.counting('res'),
    };
    const paced = new PacedInflow(body.inflow, duties, this.#gateway.clock);
    return relay(permit, paced, out, meter, terms, () => close(meter));
  }

  async #refuse(thrown: unknown): Promise<void> {
    const cause = thrown instanceof Error ? thrown : new Error(String(thrown));
    this.#call?.abort(cause);
    await this.#dossier.refused(thrown);
    if (!this.#answering.begun && this.#gone === undefined) {
      try {
        await this.#answering.refusal(thrown);
        return;
      } catch {
        // The peer takes no head of this size (it says what it takes). It hears that it was refused by the break.
      }
    }
    this.#arrival.abort(cause);
  }
}

/**
 * The service's answer. A request that failed on its way (digest, signature, consumer gone) is told rather than the
 * broken call it caused; one that the service did not want to read to its end is not a failure.
 */
function answerOf({ call, upload }: Forwarded): Promise<ServiceAnswer> {
  if (upload === undefined) return call.answer;
  const afterUpload = upload.then(
    () => call.answer,
    (cause: unknown) => {
      if (cause instanceof Denied) throw cause;
      return call.answer;
    },
  );
  return Promise.race([call.answer, afterUpload]);
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
