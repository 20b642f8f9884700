import { sha256Base64 } from '../core/bytes.ts';
import { Denied } from '../core/errors.ts';
import { NO_FIELDS, type Field, type Fields } from '../core/fields.ts';
import type { Outflow } from '../core/flow.ts';
import type { RequestHead } from '../core/head.ts';
import { toUuid } from '../core/ids.ts';
import { requestView, type RequestView } from '../httpsig/view.ts';
import type { LinkArrival, LinkBody } from '../link/link.ts';
import type { CompleteMessage } from '../message/complete-message.ts';
import type { BodyMeter } from '../message/digest.ts';
import { EXCHANGE, formatExchange, type Mode } from '../message/exchange-field.ts';
import type { RequestBinding } from '../message/profile.ts';
import { MessageSigner } from '../message/signer.ts';
import type { Pace } from '../message/signing-queue.ts';
import { bindingOf, claimedSender } from './claims.ts';
import type { Dossier } from './dossier.ts';
import type { Gateway } from './gateway.ts';
import { readerOf, refusalAnswer } from './respond.ts';

/** The answers to one request on the link: signed, tied to what was asked, recorded before they leave. */
export class Answering {
  readonly #arrival: LinkArrival;
  readonly #gateway: Gateway;
  readonly #dossier: Dossier;
  /** The request as received; what `;req` components resolve against. */
  #request: RequestView | undefined;
  /** How much of the request an answer can be tied to by now. */
  #binding: RequestBinding | undefined;
  #sender = 'unknown';
  #begun = false;

  constructor(arrival: LinkArrival, gateway: Gateway, dossier: Dossier) {
    this.#arrival = arrival;
    this.#gateway = gateway;
    this.#dossier = dossier;
  }

  /** An answer's head was sent. */
  get begun(): boolean {
    return this.#begun;
  }

  /** The answer overtook its request, whose end was never seen. */
  get overtook(): boolean {
    return this.#binding?.label === 'open';
  }

  /** The request's head can be read; nothing of it is verified. */
  heard(head: RequestHead): void {
    this.#request = requestView(head);
    this.#binding = bindingOf(head.fields);
    this.#sender = claimedSender(head.fields) ?? 'unknown';
  }

  /** The whole request is verified: from here answers are tied to all of it. */
  proved({ trailers }: CompleteMessage): void {
    if (trailers === undefined || this.#request === undefined) return;
    this.#request = { ...this.#request, trailers };
    this.#binding = { mode: 'stream', label: 'final' };
  }

  async whole(status: number, fields: Fields, bytes: Buffer): Promise<void> {
    const { request, binding } = this.#asked();
    const digest = sha256Base64(bytes);
    const plain = [...fields, this.#exchangeField('full', bytes.length)];
    const { fields: sealed, evidence } = await this.#signer().responseWhole(
      status,
      plain,
      digest,
      request,
      binding,
    );
    const content = { length: bytes.length, sha256: digest };
    await this.#dossier.responseFinal({ mode: 'full', signature: evidence, content, status });
    this.#send(status, sealed, { kind: 'whole', bytes });
    this.#dossier.sent.res = bytes.length;
  }

  /**
   * Begins an answer that goes on as a stream.
   * @returns the way for its body, and what closes it: signs and records the whole, gives the trailers
   */
  async stream(
    status: number,
    fields: Fields,
    length: number | undefined,
  ): Promise<{ readonly out: Outflow; readonly close: (meter: BodyMeter) => Promise<Fields> }> {
    const { request, binding } = this.#asked();
    const signer = this.#signer();
    const plain = [...fields, this.#exchangeField('stream', length)];
    const opened = await signer.responseOpen(status, plain, request, binding);
    const out = this.#send(status, opened.fields, { kind: 'stream' });
    const close = async (meter: BodyMeter): Promise<Fields> => {
      const content = { length: meter.length, sha256: meter.digest() };
      const closing = await signer.responseFinal(
        status,
        opened.fields,
        content.sha256,
        content.length,
        request,
        binding,
      );
      await this.#dossier.responseFinal({ mode: 'stream', signature: closing.evidence, content, status });
      return closing.fields;
    };
    return { out, close };
  }

  /** A refusal is an answer like any other, as far as there is something to tie it to. Its record is written already. */
  async refusal(thrown: unknown): Promise<void> {
    const reader = readerOf(this.#request?.fields ?? NO_FIELDS, this.#gateway.spelling);
    const { head, bytes } = refusalAnswer(thrown, toUuid(this.#dossier.id), reader);
    let { fields } = head;
    try {
      const { request, binding } = this.#asked();
      const plain = [...fields, this.#exchangeField('full', bytes.length)];
      ({ fields } = await this.#signer('soon').responseWhole(
        head.status,
        plain,
        sha256Base64(bytes),
        request,
        binding,
      ));
    } catch {
      // The request had no readable signature input: nothing of it can be covered, and the peer will not believe more
      // than that it was refused.
    }
    this.#send(head.status, fields, { kind: 'whole', bytes });
  }

  #send(status: number, fields: Fields, body: LinkBody): Outflow {
    this.#begun = true;
    return this.#arrival.answer({ status, fields }, body);
  }

  #signer(pace?: Pace): MessageSigner {
    return new MessageSigner(this.#gateway.signing(), this.#dossier.id, this.#gateway.clock, pace);
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
        to: this.#sender,
        at: this.#gateway.clock.now(),
        length,
      }),
    ];
  }
}
