import type { Clock } from '../core/clock.ts';
import type { Fields } from '../core/fields.ts';
import { toSeconds } from '../core/clock.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { Coverage } from '../httpsig/base.ts';
import { formatContentDigest } from '../httpsig/digest.ts';
import { formatParams, type SignatureParams } from '../httpsig/signature-input.ts';
import type { RequestView, ResponseView } from '../httpsig/view.ts';
import { END, formatEnd } from './exchange-field.ts';
import {
  DIGEST,
  INPUT,
  LIFETIME_S,
  SIGNATURE,
  TAG,
  requestCoverage,
  responseCoverage,
  type Label,
  type RequestBinding,
} from './profile.ts';
import type { Pace, SigningQueue } from './signing-queue.ts';

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
  readonly #params: Omit<SignatureParams, 'tag'>;

  /** @param pace `soon` when no record is written before the message goes */
  constructor(queue: SigningQueue, id: ExchangeId, clock: Clock, pace: Pace = 'record') {
    const created = toSeconds(clock.now());
    this.#queue = queue;
    this.#pace = pace;
    this.#params = { created, expires: created + LIFETIME_S, nonce: id, keyid: queue.key.kid };
  }

  /** Whole request: digest and the one signature in the headers. */
  requestWhole(head: Omit<RequestView, 'kind'>, sha256: Uint8Array): Promise<Signed> {
    const fields = withDigest(head.fields, sha256);
    const view: RequestView = { kind: 'request', ...head, fields };
    return this.#inHeaders(view, requestCoverage(fields, 'full', 'final'), 'final');
  }

  /** Opening signature of a streamed request: admits it to policy before the body. */
  requestOpen(head: Omit<RequestView, 'kind'>): Promise<Signed> {
    const view: RequestView = { kind: 'request', ...head };
    return this.#inHeaders(view, requestCoverage(head.fields, 'stream', 'open'), 'open');
  }

  /** Closing trailers of a streamed request. `head` is as it was sent, its signature fields included. */
  requestFinal(head: Omit<RequestView, 'kind'>, sha256: Uint8Array, length: number): Promise<Signed> {
    const trailers = endFields(sha256, length);
    const view: RequestView = { kind: 'request', ...head, trailers };
    return this.#inTrailers(view, trailers, requestCoverage(head.fields, 'stream', 'final'));
  }

  responseWhole(
    status: number,
    plain: Fields,
    sha256: Uint8Array,
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
    sha256: Uint8Array,
    length: number,
    request: RequestView,
    binding: RequestBinding,
  ): Promise<Signed> {
    const trailers = endFields(sha256, length);
    const view: ResponseView = { kind: 'response', status, fields, trailers, request };
    return this.#inTrailers(view, trailers, responseCoverage(fields, 'stream', 'final', binding));
  }

  async #inHeaders(
    view: RequestView | ResponseView,
    coverage: Coverage,
    label: Label,
    pace = this.#pace,
  ): Promise<Signed> {
    const { lines, evidence } = await this.#sign(view, coverage, label, pace);
    return { fields: [...view.fields, ...lines], evidence };
  }

  async #inTrailers(view: RequestView | ResponseView, trailers: Fields, coverage: Coverage): Promise<Signed> {
    const { lines, evidence } = await this.#sign(view, coverage, 'final', this.#pace);
    return { fields: [...trailers, ...lines], evidence };
  }

  async #sign(
    view: RequestView | ResponseView,
    coverage: Coverage,
    label: Label,
    pace: Pace,
  ): Promise<{ lines: Fields; evidence: SignatureEvidence }> {
    let input = '';
    const { base, value } = await this.#queue.sign((alg) => {
      const params = { ...this.#params, ...(alg === undefined ? {} : { alg }), tag: TAG[label] };
      input = coverage.list + formatParams(params);
      return coverage.base(view, input);
    }, pace);
    return {
      lines: [
        [INPUT, `${label}=${input}`],
        [SIGNATURE, `${label}=:${value}:`],
      ],
      evidence: { kid: this.#queue.key.kid, label, base, value },
    };
  }
}

const withDigest = (fields: Fields, sha256: Uint8Array): Fields => [
  ...fields,
  [DIGEST, formatContentDigest(sha256)],
];

const endFields = (sha256: Uint8Array, length: number): Fields => [
  [DIGEST, formatContentDigest(sha256)],
  [END, formatEnd(length)],
];
