import { Denied, Unavailable, describe, refusalCodeOf } from '../core/errors.ts';
import { sha256 } from '../core/bytes.ts';
import type { ExchangeId } from '../core/ids.ts';
import { REFUSALS, type RefusalCode } from '../core/refusals.ts';
import { type EndpointDevice, NodeDevice } from '../device/attested-device.ts';
import { KnownFacts, type ExchangeRecord, type OwnFacts } from '../evidence/exchange-facts.ts';
import type { RecordParts } from '../evidence/log.ts';
import { formatMeta } from '../evidence/meta-part.ts';
import type { Receipt } from '../evidence/receipt.ts';
import type { ExchangeFacts, ExchangeKind, TlsFacts } from '../evidence/record.ts';
import type { Decision } from '../trust/decision.ts';
import type { Visit } from '../trust/signals.ts';
import type { PresentedDevice } from './devices.ts';
import {
  factsOfMachine,
  factsOfDecision,
  factsOfUser,
  textOfResults,
  type MessageFacts,
  type Results,
} from './dossier-facts.ts';
import { addressOf, ExtraLog, type ExtraFacts, type Incoming } from './extra-log.ts';
import type { Gateway } from './gateway.ts';
import type { Passed } from './relay.ts';
import type { PresentedUser } from './users.ts';

/**
 * What this gateway has learnt about one exchange so far. Every record of the exchange is written from it, so no
 * record can say more, or other, than what was known when it was written.
 */
export class Dossier {
  readonly id: ExchangeId;
  readonly #gateway: Gateway;
  readonly #incoming: Incoming;
  readonly #facts: KnownFacts;
  /** Monotonic, milliseconds. */
  readonly startedAt: number;
  /** Path and query: may be personal, go into the sealed part. */
  target: { readonly path: string; readonly query: string } | undefined;
  #policyInput: Uint8Array | undefined;
  /** The decision that took back what was granted: it is told by the record of the end. */
  withdrawal: Decision | undefined;
  /** In whose habits this exchange counts. */
  visit: Visit | undefined;
  #userField: string | undefined;
  /** Of the answer. */
  #status: number | undefined;
  /** Results that no record has sealed yet. */
  #results: Results | undefined;
  /** Undefined unless a decision demanded `extra_logging`. */
  #extra: ExtraLog | undefined;
  #begun = false;
  #over = false;
  /** Content bytes that went on to the receiver. */
  readonly sent = { req: 0, res: 0 };

  constructor(gateway: Gateway, role: 'c' | 'p', id: ExchangeId, incoming: Incoming) {
    this.#gateway = gateway;
    this.#incoming = incoming;
    this.id = id;
    this.#facts = new KnownFacts(id, role, gateway.name);
    this.startedAt = gateway.clock.monotonic();
    gateway.observer.started(role);
  }

  /** True once a record says that something may have gone on: from then on an error is an abort, not a refusal. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Counts what goes on of a body, chunk by chunk. */
  counting(way: 'req' | 'res'): Passed {
    const { passed } = this.#gateway;
    return (bytes, lent) => {
      this.sent[way] += bytes;
      passed?.(bytes, lent);
    };
  }

  learn(facts: { xid?: string; peer?: string; client?: string; svc?: string; op?: string }): void {
    this.#facts.learn(facts);
  }

  /** The connection to the peer. */
  session(tls: TlsFacts): void {
    this.#facts.share({ tls });
  }

  /** Who the user is: what was shown goes into a sealed part; how it was shown, into the record. */
  user(user: PresentedUser | undefined): void {
    if (user === undefined) return;
    this.#facts.learn({ usr: factsOfUser(user) });
    this.#userField = user.field;
  }

  /** Which machines take part: the results go into a sealed part; what they say, into the record. */
  devices(endpoint: PresentedDevice | undefined, node: NodeDevice | undefined): void {
    if (endpoint !== undefined) this.#facts.share({ dev: factsOfMachine(endpoint.machine) });
    if (node !== undefined) this.#facts.share({ node: factsOfMachine(node) });
    if (endpoint === undefined && node === undefined) return;
    this.#results = {
      ...(endpoint === undefined ? {} : { endpoint: endpoint.field }),
      ...(node === undefined ? {} : { node: node.token }),
    };
  }

  /** The exchange runs, and goes on with a newer result: later records rest on that. */
  renewed(machine: EndpointDevice | NodeDevice): void {
    const isNode = machine instanceof NodeDevice;
    this.#facts.share({ [isNode ? 'node' : 'dev']: factsOfMachine(machine) });
    this.#results = { ...this.#results, [isNode ? 'node' : 'endpoint']: machine.token };
  }

  /** The first decision, good or bad: the first record carries it with the very bytes that were evaluated. */
  decided(decision: Decision, inputDigest = sha256(decision.inputBytes)): void {
    this.#gateway.decided(this.id, decision);
    this.#note(decision, inputDigest);
  }

  /** It was decided again while it ran, and may go on. @throws Unavailable `evidence.unavailable` */
  async decidedAgain(decision: Decision): Promise<void> {
    this.#bind(decision, sha256(decision.inputBytes));
    const record = this.#record('recheck', { out: 'ok', status: this.#status });
    const extra = this.#extra?.origin();
    const parts = extra === undefined ? {} : { meta: formatMeta({ ...this.target, extra }) };
    await this.#gateway.log.append(record, { ...parts, input: decision.inputBytes });
  }

  #note(decision: Decision, inputDigest = sha256(decision.inputBytes)): void {
    this.#policyInput = decision.inputBytes;
    this.#bind(decision, inputDigest);
  }

  #bind(decision: Decision, inputDigest: Uint8Array): void {
    this.#facts.learn({ pol: factsOfDecision(decision, inputDigest) });
    if (decision.obligations.extra_logging === true) this.#extra ??= new ExtraLog(this.#incoming);
  }

  /** A streamed request is admitted on its head. */
  open(message: MessageFacts): Promise<Receipt> {
    return this.#append('open', message, this.#extra?.origin());
  }

  requestFinal(message: MessageFacts): Promise<Receipt> {
    this.#extra?.requestComplete(this.#elapsedMs());
    return this.#append('req.final', message, this.#extra?.origin());
  }

  responseFinal(message: MessageFacts): Promise<Receipt> {
    const { status, content } = message;
    if (status !== undefined) this.#status = status;
    const sent = { req: this.sent.req, res: content?.length ?? 0 }; // its end goes on when it is recorded
    return this.#append('res.final', message, this.#extra?.end(sent, this.#elapsedMs()));
  }

  /**
   * Writes how an exchange ended badly, as its refusal's row says: a signed deny or abort record, or (nobody
   * identified) a rate-limited event. Never throws: the answer to the requester must not depend on it.
   */
  async refused(thrown: unknown): Promise<RefusalCode> {
    const code = refusalCodeOf(thrown);
    const detail = describe(thrown);
    if (this.#over) return code;
    this.#over = true;
    const { mark } = REFUSALS[code];
    if (mark === 'event' && !this.#begun) {
      this.#gateway.observer.refusedUnknown(code, addressOf(this.#incoming), detail);
    } else {
      try {
        await this.#refusalRecord(code, detail);
      } catch (cause) {
        this.#gateway.observer.trouble(this.id, 'evidence.unavailable', describe(cause));
      }
    }
    if (!(thrown instanceof Denied)) {
      const stack =
        thrown instanceof Unavailable || !(thrown instanceof Error) ? detail : (thrown.stack ?? detail);
      this.#gateway.observer.trouble(this.id, code, stack);
    }
    this.#finished(code, thrown instanceof Denied);
    return code;
  }

  /** The exchange is complete on our side: its last record was written, its last byte handed on. */
  completed(): void {
    if (this.#over) return;
    this.#over = true;
    this.#finished('ok', false);
  }

  #finished(out: ExchangeFacts['out'], refused: boolean): void {
    const bytes = this.sent.req + this.sent.res;
    this.visit?.ended({ ok: out === 'ok', refused, bytes }, this.#gateway.clock.now());
    const { role, peer, client, svc } = this.#facts.known;
    this.#gateway.observer.finished({
      exchange: this.id,
      role,
      out,
      status: this.#status,
      peer,
      client,
      service: svc,
      elapsedMs: this.#elapsedMs(),
      requestBytes: this.sent.req,
      responseBytes: this.sent.res,
    });
  }

  #elapsedMs(): number {
    return this.#gateway.clock.monotonic() - this.startedAt;
  }

  async #refusalRecord(code: RefusalCode, detail: string): Promise<void> {
    const k = this.#begun
      ? 'abort'
      : code === 'message.replayed'
        ? 'replay.seen'
        : code.startsWith('message.signature') || code === 'message.key_unknown'
          ? 'sig.bad'
          : 'deny';
    if (this.withdrawal !== undefined) this.#note(this.withdrawal);
    const extra = this.#extra?.end(this.sent, this.#elapsedMs());
    const own = { out: code, status: this.#status, sent: this.#begun ? this.sent : undefined };
    await this.#gateway.log.append(
      this.#record(k, own),
      this.#parts(
        formatMeta({ ...this.target, why: detail, extra }),
        this.#begun ? undefined : this.#userField,
      ),
    );
  }

  async #append(
    k: 'open' | 'req.final' | 'res.final',
    message: MessageFacts,
    extra: ExtraFacts | undefined,
  ): Promise<Receipt> {
    const { signature, content, mode } = message;
    // Every signature of a request covers it, of a stream both: what a record needs to be checked is its own.
    const subject = k === 'res.final' ? undefined : this.#userField;
    const receipt = await this.#gateway.log.append(
      this.#record(k, {
        out: 'ok',
        mode,
        sig: signature.value,
        kid: signature.kid,
        len: content?.length,
        dg: content === undefined ? undefined : `sha-256:${content.sha256}`,
        status: this.#status,
      }),
      this.#parts(
        formatMeta({ path: this.target?.path, query: this.target?.query, extra }, signature.base, subject),
        subject,
      ),
    );
    this.#begun = true;
    // The decision is bound to the first record of the exchange; later ones need not repeat its input.
    this.#policyInput = undefined;
    this.#results = undefined;
    return receipt;
  }

  #record(k: ExchangeKind, own: OwnFacts): ExchangeRecord {
    return this.#facts.record(k, this.#gateway.clock.now(), own);
  }

  #parts(meta: readonly string[], subject: string | undefined): RecordParts {
    return {
      meta,
      input: this.#policyInput,
      subject,
      device: this.#results === undefined ? undefined : textOfResults(this.#results),
    };
  }
}
