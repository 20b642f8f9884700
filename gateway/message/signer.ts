import type { Clock } from '../core/clock.ts';
import type { Fields } from '../core/fields.ts';
import { toSeconds } from '../core/clock.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { Coverage } from '../httpsig/base.ts';
import { formatContentDigest } from '../httpsig/digest.ts';
import { formatParams } from '../httpsig/signature-input.ts';
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
import type { Pace, SigningKey, SigningQueue } from './signing-queue.ts';

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
  requestWhole(head: Omit<RequestView, 'kind'>, sha256: string): Promise<Signed> {
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
  requestFinal(head: Omit<RequestView, 'kind'>, sha256: string, length: number): Promise<Signed> {
    const trailers = endFields(sha256, length);
    const view: RequestView = { kind: 'request', ...head, trailers };
    return this.#inTrailers(view, trailers, requestCoverage(head.fields, 'stream', 'final'));
  }

  responseWhole(
    status: number,
    plain: Fields,
    sha256: string,
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
    sha256: string,
    length: number,
    request: RequestView,
    binding: RequestBinding,
  ): Promise<Signed> {
    const trailers = endFields(sha256, length);
    const view: ResponseView = { kind: 'response', status, fields, trailers, request };
    return this.#inTrailers(view, trailers, responseCoverage(fields, 'stream', 'final', binding));
  }

  #inHeaders(
    view: RequestView | ResponseView,
    coverage: Coverage,
    label: Label,
    pace = this.#pace,
  ): Promise<Signed> {
    return this.#sign(view, coverage, label, pace, view.fields);
  }

  #inTrailers(view: RequestView | ResponseView, trailers: Fields, coverage: Coverage): Promise<Signed> {
    return this.#sign(view, coverage, 'final', this.#pace, trailers);
  }

  #sign(
    view: RequestView | ResponseView,
    coverage: Coverage,
    label: Label,
    pace: Pace,
    fields: Fields,
  ): Promise<Signed> {
    let params = '';
    const compose = (alg: string | undefined): string => {
      params = this.#opening + endingOf(this.#queue.key, label, alg);
      return coverage.base(view, params);
    };
    return this.#queue.sign(compose, pace).then(({ base, value }) => ({
      fields: fields.concat([
        [INPUT, `${label}=${coverage.list}${params}`],
        [SIGNATURE, `${label}=:${value}:`],
      ]),
      evidence: { kid: this.#queue.key.kid, label, base, value },
    }));
  }
}

/** What the parameters of a key's signatures end with: the same in all messages of one use and form. */
const endings = new WeakMap<SigningKey, Map<string, string>>();

function endingOf(key: SigningKey, label: Label, alg: string | undefined): string {
  let known = endings.get(key);
  if (known === undefined) endings.set(key, (known = new Map()));
  const name = alg === undefined ? label : `${label} ${alg}`;
  let ending = known.get(name);
  if (ending === undefined) {
    ending = formatParams({ ...(alg === undefined ? {} : { alg }), keyid: key.kid, tag: TAG[label] });
    known.set(name, ending);
  }
  return ending;
}

const withDigest = (fields: Fields, sha256: string): Fields =>
  fields.concat([[DIGEST, formatContentDigest(sha256)]]);

const endFields = (sha256: string, length: number): Fields => [
  [DIGEST, formatContentDigest(sha256)],
  [END, formatEnd(length)],
];
