import type { Sha256Base64 } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import type { Fields } from '../core/fields.ts';
import { toSeconds } from '../core/clock.ts';
import type { RequestHead } from '../core/head.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { Coverage } from '../httpsig/base.ts';
import { formatContentDigest } from '../httpsig/digest.ts';
import { formatParams } from '../httpsig/signature-input.ts';
import { requestView, type MessageView, type RequestView, type ResponseView } from '../httpsig/view.ts';
import { END, formatEnd } from './exchange-field.ts';
import {
  DIGEST,
  INPUT,
  LIFETIME_S,
  SIGNATURE,
  requestCoverage,
  responseCoverage,
  type Label,
  type RequestBinding,
} from './profile.ts';
import type { Form, Pace, SigningQueue } from './signing-queue.ts';

/** One signature with all that an auditor needs beside the public key. */
export interface SignatureEvidence {
  readonly kid: string;
  readonly label: Label;
  /** The exact text that was signed. */
  readonly base: string;
  /** Base64. */
  readonly value: string;
}

export interface Signed {
  /** The message's own fields with the signature fields behind them; or the trailers. */
  readonly fields: Fields;
  readonly evidence: SignatureEvidence;
}

/** Makes the signatures of one message, or has them made; `open` and `final` of a stream share id and time window. */
export class MessageSigner {
  readonly #queue: SigningQueue;
  readonly #pace: Pace;
  /** The parameters that are this message's own. */
  readonly #opening: string;

  /** @param pace `soon` when no record is written before the message goes */
  constructor(queue: SigningQueue, id: ExchangeId, clock: Clock, pace: Pace = 'record') {
    const created = toSeconds(clock.now());
    this.#queue = queue;
    this.#pace = pace;
    this.#opening = formatParams({ created, expires: created + LIFETIME_S, nonce: id });
  }

  /** Whole request: digest and the one signature in the headers. */
  requestWhole(head: RequestHead, sha256: Sha256Base64): Promise<Signed> {
    const fields = withDigest(head.fields, sha256);
    return this.#inHeaders(requestView(head, fields), requestCoverage(fields, 'full', 'final'), 'final');
  }

  /** Opening signature of a streamed request: admits it to policy before the body. */
  requestOpen(head: RequestHead): Promise<Signed> {
    return this.#inHeaders(requestView(head), requestCoverage(head.fields, 'stream', 'open'), 'open');
  }

  /** Closing trailers of a streamed request. `head` is as it was sent, its signature fields included. */
  requestFinal(head: RequestHead, sha256: Sha256Base64, length: number): Promise<Signed> {
    const trailers = endFields(sha256, length);
    const view = { ...requestView(head), trailers };
    return this.#sign(view, requestCoverage(head.fields, 'stream', 'final'), 'final', this.#pace, trailers);
  }

  responseWhole(
    status: number,
    plain: Fields,
    sha256: Sha256Base64,
    request: RequestView,
    binding: RequestBinding,
  ): Promise<Signed> {
    const fields = withDigest(plain, sha256);
    const view: ResponseView = { kind: 'response', status, fields, request };
    return this.#inHeaders(view, responseCoverage(fields, 'full', 'final', binding), 'final');
  }

  responseOpen(
    status: number,
    fields: Fields,
    request: RequestView,
    binding: RequestBinding,
  ): Promise<Signed> {
    const view: ResponseView = { kind: 'response', status, fields, request };
    // No record is written before it goes.
    return this.#inHeaders(view, responseCoverage(fields, 'stream', 'open', binding), 'open', 'soon');
  }

  responseFinal(
    status: number,
    fields: Fields,
    sha256: Sha256Base64,
    length: number,
    request: RequestView,
    binding: RequestBinding,
  ): Promise<Signed> {
    const trailers = endFields(sha256, length);
    const view: ResponseView = { kind: 'response', status, fields, trailers, request };
    const coverage = responseCoverage(fields, 'stream', 'final', binding);
    return this.#sign(view, coverage, 'final', this.#pace, trailers);
  }

  #inHeaders(view: MessageView, coverage: Coverage, label: Label, pace = this.#pace): Promise<Signed> {
    return this.#sign(view, coverage, label, pace, view.fields);
  }

  #sign(view: MessageView, coverage: Coverage, label: Label, pace: Pace, fields: Fields): Promise<Signed> {
    const { key, endings } = this.#queue;
    let params = '';
    let base = '';
    return new Promise((resolve, failed) => {
      const compose = (form: Form): string => {
        params = this.#opening + endings[label][form];
        return (base = coverage.base(view, params));
      };
      const signed = (value: string): void =>
        resolve({
          fields: [
            ...fields,
            [INPUT, `${label}=${coverage.list}${params}`],
            [SIGNATURE, `${label}=:${value}:`],
          ],
          evidence: { kid: key.kid, label, base, value },
        });
      this.#queue.add({ compose, signed, failed }, pace);
    });
  }
}

const withDigest = (fields: Fields, sha256: Sha256Base64): Fields => [
  ...fields,
  [DIGEST, formatContentDigest(sha256)],
];

const endFields = (sha256: Sha256Base64, length: number): Fields => [
  [DIGEST, formatContentDigest(sha256)],
  [END, formatEnd(length)],
];
