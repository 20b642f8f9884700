import { Unavailable } from '../core/errors.ts';
import { sha256Base64 } from '../core/bytes.ts';
import { NO_FIELDS, type Fields } from '../core/fields.ts';
import type { RequestHead } from '../core/head.ts';
import { newExchangeId, toUuid } from '../core/ids.ts';
import type { RequestView } from '../httpsig/view.ts';
import type { LinkAnswer, LinkCall } from '../link/link.ts';
import { BodyMeter } from '../message/digest.ts';
import { EXCHANGE, formatExchange, type ExchangeField } from '../message/exchange-field.ts';
import { FULL_MODE_BYTES } from '../message/profile.ts';
import { MessageSigner } from '../message/signer.ts';
import { SignedHead } from '../message/signed-head.ts';
import { CompleteMessage } from '../message/complete-message.ts';
import { admitConsumer, type Admitted } from './admit.ts';
import { answerFields } from './answer-fields.ts';
import type { Arrival, Consume } from './arrival.ts';
import { rootCause } from './cause.ts';
import { within } from './deadline.ts';
import { answerFromDirectory, asksDirectory } from './directory.ts';
import { Dossier } from './dossier.ts';
import { gather, GATHER_MS } from './gather.ts';
import type { Gateway } from './gateway.ts';
import { HashingMeter } from './hashing-meter.ts';
import { GrantWatch } from './grant-watch.ts';
import { hostCheck } from './host-check.ts';
import { lastExit } from './last-exit.ts';
import { PacedInflow } from './pace.ts';
import { Permit } from './permit.ts';
import { relay } from './relay.ts';
import { acceptFields, readerOf, refusalAnswer } from './respond.ts';
import { answerTerms, uploadTerms } from './terms.ts';

/** The consumer's side of the message path: a client system's request goes out signed, its answer comes back verified. */
export const consumer =
  (gateway: Gateway): Consume =>
  (arrival) => {
    if (asksDirectory(arrival)) {
      answerFromDirectory(arrival, gateway);
      return;
    }
    const dossier = new Dossier(gateway, 'c', newExchangeId(gateway.random), arrival);
    new Consumption(arrival, gateway, dossier).run().catch(lastExit(dossier.id, arrival, gateway.observer));
  };

/** RFC 9110 §6.4.1. */
const BODILESS: ReadonlySet<number> = new Set([204, 205, 304]);
/** Of an answer that was handed over whole: the listener ends the connection when it cannot be written. */
const UNHEARD = { drain: () => undefined, error: () => undefined, finish: () => undefined };

class Consumption {
  readonly #arrival: Arrival;
  readonly #gateway: Gateway;
  readonly #dossier: Dossier;
  #answered = false;
  #call: LinkCall | undefined;
  #gone: Error | undefined;
  readonly #watch: GrantWatch;

  constructor(arrival: Arrival, gateway: Gateway, dossier: Dossier) {
    this.#arrival = arrival;
    this.#gateway = gateway;
    this.#dossier = dossier;
    this.#watch = new GrantWatch(gateway, dossier, (cause) => this.#call?.abort(cause));
  }

  async run(): Promise<void> {
    this.#arrival.onGone((cause) => {
      this.#gone = new Unavailable('response.receiver_gone', cause.message, { cause });
      this.#call?.abort(this.#gone);
    });
    try {
      const admitted = await admitConsumer(this.#arrival, this.#gateway, this.#dossier);
      this.#watch.begin(admitted.lease, admitted.duties);
      const sent = await this.#send(admitted);
      await this.#deliver(await this.#answerTo(sent), sent, admitted);
      this.#dossier.completed();
    } catch (thrown) {
      await this.#refuse(this.#watch.revoked ?? rootCause(thrown, this.#gone));
    } finally {
      this.#watch.end();
    }
  }

  /** Decide the mode, sign, record, and only then let the first byte go. */
  async #send(admitted: Admitted): Promise<Sent> {
    const { request, target, grant, lease, duties } = admitted;
    const requireHost = hostCheck(lease, this.#gateway, this.#dossier);
    const { limits, clock, signing, link } = this.#gateway;
    const gathered = gather(this.#arrival.inflow, request.length, {
      maxBytes: FULL_MODE_BYTES,
      waitMs: GATHER_MS,
      idleMs: limits.bodyIdleMs,
      stalled: 'message.stalled',
    });
    const body = gathered instanceof Promise ? await gathered : gathered;
    const length = body.kind === 'whole' ? body.bytes.length : request.length;
    const exchange: ExchangeField = {
      id: this.#dossier.id,
      mode: body.kind === 'whole' ? 'full' : 'stream',
      from: this.#gateway.name,
      to: target.name,
      at: clock.now(),
      length,
    };
    const { method } = request;
    const { path, query } = request.target;
    const authority = target.name;
    const plain: RequestHead = {
      method,
      authority,
      path,
      query,
      fields: [...request.fields, [EXCHANGE, formatExchange(exchange)], admitted.policyField],
    };
    const signer = new MessageSigner(signing(), exchange.id, clock);
    if (body.kind === 'whole') {
      duties.request.require(body.bytes.length);
      request.hash?.update(body.bytes);
      const digest = sha256Base64(body.bytes);
      const { fields, evidence } = await signer.requestWhole(plain, digest);
      const content = { length: body.bytes.length, sha256: digest };
      const permit = Permit.issue(
        grant,
        await this.#dossier.requestFinal({ mode: 'full', signature: evidence, content }),
      );
      const view = { kind: 'request', method, authority, path, query, fields } as const;
      this.#requireClient();
      const call = await link.call(target, view, { kind: 'whole', bytes: body.bytes }, requireHost);
      this.#dossier.sent.req = body.bytes.length;
      return this.#sent(call, permit, exchange, view);
    }
    const { fields, evidence } = await signer.requestOpen(plain);
    const permit = Permit.issue(grant, await this.#dossier.open({ mode: 'stream', signature: evidence }));
    const head = { kind: 'request', method, authority, path, query, fields } as const;
    this.#requireClient();
    const call = await link.call(target, head, { kind: 'stream' }, requireHost);
    const sent = this.#sent(call, permit, exchange, head);
    const meter = new HashingMeter(this.#hashesStreams ? request.hash : undefined);
    sent.upload = relay(
      permit,
      new PacedInflow(body.inflow, duties, clock),
      call.outflow,
      meter,
      {
        ...uploadTerms(request.length, Number.MAX_SAFE_INTEGER, limits.bodyIdleMs, duties.request),
        passed: this.#dossier.counting('req'),
      },
      async () => {
        const digest = meter.digest();
        const closing = await signer.requestFinal(head, digest, meter.length);
        await this.#dossier.requestFinal({
          mode: 'stream',
          signature: closing.evidence,
          content: { length: meter.length, sha256: digest },
        });
        sent.view = { ...sent.view, trailers: closing.fields };
        return closing.fields;
      },
    );
    sent.upload.catch((cause: unknown) => {
      sent.uploadFailure = cause;
    });
    return sent;
  }

  #sent(call: LinkCall, permit: Permit, exchange: ExchangeField, view: RequestView): Sent {
    this.#call = call;
    this.#dossier.session(call.session.tls);
    return { call, permit, exchange, view, upload: undefined, uploadFailure: undefined };
  }

  /** The peer's answer, once its head is proved to be the answer to this very request. */
  async #answerTo(sent: Sent): Promise<{ head: SignedHead; status: number; answer: LinkAnswer }> {
    const { answerMs } = this.#gateway.limits;
    try {
      const late = (): Unavailable => new Unavailable('link.timeout', `no answer in ${answerMs} ms`);
      const inTime = (): Promise<LinkAnswer> => within(sent.call.answer, answerMs, late);
      // A long upload may run first: the wait for the answer begins when it is over, well or badly (a refused upload is
      // answered by the peer).
      const answer = await (sent.upload === undefined
        ? inTime()
        : Promise.race([sent.call.answer, sent.upload.then(inTime, inTime)]));
      const head = SignedHead.response(answer.head, sent.view, sent.exchange, this.#gateway.verifier);
      return { head, status: answer.head.status, answer };
    } catch (thrown) {
      throw sent.uploadFailure ?? thrown;
    }
  }

  /** To the client: the end is held back until the whole answer is verified and recorded. */
  async #deliver(
    { head, status, answer }: { head: SignedHead; status: number; answer: LinkAnswer },
    sent: Sent,
    admitted: Admitted,
  ): Promise<void> {
    const { limits, verifier, clock } = this.#gateway;
    const { response } = admitted.duties;
    response.require(head.exchange.length);
    const meter = new BodyMeter();
    const record = async (trailers: Fields): Promise<Fields> => {
      const {
        evidence,
        length,
        sha256: digest,
      } = CompleteMessage.verify(head, meter, trailers, sent.exchange.to, verifier);
      const content = { length, sha256: digest };
      await this.#dossier.responseFinal({ mode: head.exchange.mode, signature: evidence, content, status });
      return NO_FIELDS;
    };
    if (head.exchange.mode === 'full') {
      const gathered = gather(answer.inflow, head.exchange.length, {
        maxBytes: FULL_MODE_BYTES,
        waitMs: limits.bodyIdleMs,
        idleMs: limits.bodyIdleMs,
        stalled: 'response.stalled',
      });
      const body = gathered instanceof Promise ? await gathered : gathered;
      if (body.kind !== 'whole') throw new Unavailable('response.digest', 'longer than full mode allows');
      response.require(body.bytes.length);
      meter.update(body.bytes);
      await record(body.trailers);
      this.#answer(
        { status, fields: this.#answerFields(head, admitted, sent) },
        body.bytes,
        admitted.request.method,
      );
      this.#dossier.sent.res = body.bytes.length;
      return;
    }
    const fields = this.#answerFields(head, admitted, sent);
    this.#answered = true;
    const out = this.#arrival.answer(
      { status, fields },
      head.exchange.length === undefined
        ? { kind: 'stream' }
        : { kind: 'stream', length: head.exchange.length },
    );
    await relay(
      sent.permit,
      new PacedInflow(answer.inflow, admitted.duties, clock),
      out,
      meter,
      {
        ...answerTerms(head.exchange.length, limits.answerMs, response),
        passed: this.#dossier.counting('res'),
      },
      record,
    );
  }

  #answer(head: { status: number; fields: Fields }, bytes: Buffer, method: string): void {
    this.#answered = true;
    const bodiless = method === 'HEAD' || BODILESS.has(head.status);
    const out = this.#arrival.answer(head, bodiless ? { kind: 'none' } : { kind: 'whole', bytes });
    out.attach(UNHEARD);
  }

  #answerFields(head: SignedHead, admitted: Admitted, sent: Sent): Fields {
    // An answer that overtakes its request cannot carry the hash of it.
    const known = sent.upload === undefined || (this.#hashesStreams && sent.view.trailers !== undefined);
    const hash = known ? admitted.request.hash?.value() : undefined;
    return answerFields(head, admitted, hash, this.#gateway.users.nonces);
  }

  /** SHA-512 costs twice what our own digest does: over a stream it is made where it was asked for. */
  get #hashesStreams(): boolean {
    return this.#gateway.requestHash === 'sha512';
  }

  #requireClient(): void {
    if (this.#gone !== undefined) throw this.#gone;
    if (this.#watch.revoked !== undefined) throw this.#watch.revoked;
  }

  async #refuse(thrown: unknown): Promise<void> {
    const cause = thrown instanceof Error ? thrown : new Error(String(thrown));
    this.#call?.abort(cause);
    await this.#dossier.refused(thrown);
    if (this.#answered || this.#gone !== undefined) {
      this.#arrival.abort(cause);
      return;
    }
    const reader = readerOf(acceptFields(this.#arrival.rawHeaders), this.#gateway.spelling);
    const { head, bytes } = refusalAnswer(thrown, toUuid(this.#dossier.id), reader);
    this.#answer(head, bytes, this.#arrival.method);
  }
}

interface Sent {
  readonly call: LinkCall;
  readonly permit: Permit;
  readonly exchange: ExchangeField;
  /** The request as sent; gets its trailers when the upload ends. */
  view: RequestView;
  upload: Promise<void> | undefined;
  uploadFailure: unknown;
}
