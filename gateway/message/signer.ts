import type { KeyObject } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import type { Fields } from '../core/fields.ts';
import { base64 } from '../core/bytes.ts';
import { toSeconds } from '../core/clock.ts';
import type { ExchangeId } from '../core/ids.ts';
import { signBase, type AlgorithmName } from '../httpsig/algorithm.ts';
import { signatureBase } from '../httpsig/base.ts';
import type { Component } from '../httpsig/component.ts';
import { formatContentDigest } from '../httpsig/digest.ts';
import { formatSignatureInput, type SignatureParams } from '../httpsig/signature-input.ts';
import type { RequestView, ResponseView } from '../httpsig/view.ts';
import { END, formatEnd } from './exchange-field.ts';
import {
  DIGEST,
  INPUT,
  LIFETIME_S,
  SIGNATURE,
  TAG,
  requestComponents,
  responseComponents,
  type Label,
  type RequestBinding,
} from './profile.ts';

/** A private message key and the name the registry knows it by. */
export interface SigningKey {
  readonly kid: string;
  readonly algorithm: AlgorithmName;
  readonly privateKey: KeyObject;
}

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

/** Makes the signatures of one message; `open` and `final` of a stream share id and time window. */
export class MessageSigner {
  readonly #key: SigningKey;
  readonly #params: Omit<SignatureParams, 'tag'>;

  constructor(key: SigningKey, id: ExchangeId, clock: Clock) {
    const created = toSeconds(clock.now());
    this.#key = key;
    this.#params = { created, expires: created + LIFETIME_S, nonce: id, keyid: key.kid };
  }

  /** Whole request: digest and the one signature in the headers. */
  requestWhole(head: Omit<RequestView, 'kind'>, sha256: Uint8Array): Signed {
    const fields = withDigest(head.fields, sha256);
    const view: RequestView = { kind: 'request', ...head, fields };
    return this.#inHeaders(view, requestComponents(fields, 'full', 'final'), 'final');
  }

  /** Opening signature of a streamed request: admits it to policy before the body. */
  requestOpen(head: Omit<RequestView, 'kind'>): Signed {
    const view: RequestView = { kind: 'request', ...head };
    return this.#inHeaders(view, requestComponents(head.fields, 'stream', 'open'), 'open');
  }

  /** Closing trailers of a streamed request. `head` is as it was sent, its signature fields included. */
  requestFinal(head: Omit<RequestView, 'kind'>, sha256: Uint8Array, length: number): Signed {
    const trailers = endFields(sha256, length);
    const view: RequestView = { kind: 'request', ...head, trailers };
    return this.#inTrailers(view, trailers, requestComponents(head.fields, 'stream', 'final'));
  }

  responseWhole(
    status: number,
    plain: Fields,
    sha256: Uint8Array,
    request: RequestView,
    binding: RequestBinding,
  ): Signed {
    const fields = withDigest(plain, sha256);
    const view: ResponseView = { kind: 'response', status, fields, request };
    return this.#inHeaders(view, responseComponents(fields, 'full', 'final', binding), 'final');
  }

  responseOpen(status: number, fields: Fields, request: RequestView, binding: RequestBinding): Signed {
    const view: ResponseView = { kind: 'response', status, fields, request };
    return this.#inHeaders(view, responseComponents(fields, 'stream', 'open', binding), 'open');
  }

  responseFinal(
    status: number,
    fields: Fields,
    sha256: Uint8Array,
    length: number,
    request: RequestView,
    binding: RequestBinding,
  ): Signed {
    const trailers = endFields(sha256, length);
    const view: ResponseView = { kind: 'response', status, fields, trailers, request };
    return this.#inTrailers(view, trailers, responseComponents(fields, 'stream', 'final', binding));
  }

  #inHeaders(view: RequestView | ResponseView, components: readonly Component[], label: Label): Signed {
    const { lines, evidence } = this.#sign(view, components, label);
    return { fields: [...view.fields, ...lines], evidence };
  }

  #inTrailers(view: RequestView | ResponseView, trailers: Fields, components: readonly Component[]): Signed {
    const { lines, evidence } = this.#sign(view, components, 'final');
    return { fields: [...trailers, ...lines], evidence };
  }

  #sign(
    view: RequestView | ResponseView,
    components: readonly Component[],
    label: Label,
  ): { lines: Fields; evidence: SignatureEvidence } {
    const input = formatSignatureInput(components, { ...this.#params, tag: TAG[label] });
    const base = signatureBase(view, components, input);
    const value = base64(signBase(this.#key.algorithm, this.#key.privateKey, base));
    return {
      lines: [
        [INPUT, `${label}=${input}`],
        [SIGNATURE, `${label}=:${value}:`],
      ],
      evidence: { kid: this.#key.kid, label, base, value },
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
