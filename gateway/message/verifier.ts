import type { KeyObject } from 'node:crypto';
import type { Clock, EpochMs } from '../core/clock.ts';
import { toSeconds } from '../core/clock.ts';
import { base64, equalBytes } from '../core/bytes.ts';
import { Denied, MalformedBytes, quoted } from '../core/errors.ts';
import { fieldValue, type Fields } from '../core/fields.ts';
import type { RequestHead, ResponseHead } from '../core/head.ts';
import type { RefusalCode } from '../core/refusals.ts';
import { verifyBase, type AlgorithmName } from '../httpsig/algorithm.ts';
import { signatureBase } from '../httpsig/base.ts';
import type { Component } from '../httpsig/component.ts';
import { parseContentDigest } from '../httpsig/digest.ts';
import { formatSignatureInput, parseSignatures, type SignatureParams } from '../httpsig/signature-input.ts';
import type { RequestView, ResponseView } from '../httpsig/view.ts';
import type { BodyMeter } from './digest.ts';
import { END, EXCHANGE, parseEnd, parseExchange, type ExchangeField } from './exchange-field.ts';
import {
  DIGEST,
  INPUT,
  LIFETIME_S,
  SIGNATURE,
  SKEW_S,
  TAG,
  requestComponents,
  responseComponents,
  type Label,
  type RequestBinding,
} from './profile.ts';
import type { SignatureEvidence } from './signer.ts';

export interface MessageKey {
  readonly algorithm: AlgorithmName;
  readonly publicKey: KeyObject;
}

/** What a verifier knows: itself, the time, and the keys the registry lists for a gateway at that time. */
export interface VerifierContext {
  readonly me: string;
  readonly clock: Clock;
  messageKey(gateway: string, kid: string, at: EpochMs): MessageKey | undefined;
}

/** Proof that a peer's head is signed by the peer, to us, in time. Its content is not proved yet: see {@link CompleteMessage}. */
export class SignedHead {
  declare protected readonly nominal: never;
  readonly kind: 'request' | 'response';
  readonly exchange: ExchangeField;
  /** Carried fields: covered by the signature, none else. */
  readonly fields: Fields;
  /** The view later components (trailers, `;req`) resolve against. */
  readonly view: RequestView | ResponseView;
  readonly evidence: SignatureEvidence;
  readonly params: SignatureParams;
  /** For an answer: how much of the request it is tied to. */
  readonly binding: RequestBinding | undefined;
  /** SHA-256 of the content as signed in the headers (`full` mode). */
  readonly signedDigest: Uint8Array | undefined;

  private constructor(parts: Omit<SignedHead, 'nominal'>) {
    this.kind = parts.kind;
    this.exchange = parts.exchange;
    this.fields = parts.fields;
    this.view = parts.view;
    this.evidence = parts.evidence;
    this.params = parts.params;
    this.binding = parts.binding;
    this.signedDigest = parts.signedDigest;
  }

  /**
   * Verifies a request's head in the order of evidence.md §6.1: labels, components, parameters, key, consistency,
   * base, signature. The replay store is asked by the caller, after this, so that nobody can fill it unsigned.
   * @param peer name of the gateway that the live TLS connection proved
   * @throws Denied `message.*`
   */
  static request(head: RequestHead, peer: string, context: VerifierContext): SignedHead {
    const exchange = parseExchange(fieldValue(head.fields, EXCHANGE));
    const label: Label = exchange.mode === 'full' ? 'final' : 'open';
    const view: RequestView = { kind: 'request', ...head };
    const { evidence, params } = verify(
      view,
      head.fields,
      label,
      exchange,
      peer,
      context,
      REQUEST_CODES,
      () => requestComponents(head.fields, exchange.mode, label),
    );
    requireRoute(exchange, peer, context.me);
    if (head.authority !== context.me)
      throw new Denied('message.inconsistent', `authority ${quoted(head.authority)}`);
    return new SignedHead({
      kind: 'request',
      exchange,
      view,
      evidence,
      params,
      binding: undefined,
      fields: carriedFields(head.fields),
      signedDigest: digestOf(head.fields, exchange, 'message.digest_mismatch'),
    });
  }

  /**
   * Verifies an answer's head against the request as *we* sent it.
   * @throws Denied `response.*`
   */
  static response(
    head: ResponseHead,
    request: RequestView,
    asked: ExchangeField,
    context: VerifierContext,
  ): SignedHead {
    const exchange = answering(() => parseExchange(fieldValue(head.fields, EXCHANGE)));
    if (exchange.id !== asked.id) throw new Denied('response.binding', `answers ${exchange.id}`);
    const label: Label = exchange.mode === 'full' ? 'final' : 'open';
    const view: ResponseView = { kind: 'response', ...head, request };
    // An answer may come before the request's end was seen; then it is tied to what opened the request.
    const bindings: readonly RequestBinding[] =
      asked.mode === 'full'
        ? [{ mode: 'full', label: 'final' }]
        : [
            { mode: 'stream', label: 'final' },
            { mode: 'stream', label: 'open' },
          ];
    let failure: unknown;
    for (const binding of bindings) {
      if (binding.label === 'final' && binding.mode === 'stream' && request.trailers === undefined) continue;
      try {
        const { evidence, params } = verify(
          view,
          head.fields,
          label,
          exchange,
          asked.to,
          context,
          RESPONSE_CODES,
          () => responseComponents(head.fields, exchange.mode, label, binding),
        );
        answering(() => requireRoute(exchange, asked.to, context.me));
        return new SignedHead({
          kind: 'response',
          exchange,
          view,
          evidence,
          params,
          binding,
          fields: carriedFields(head.fields),
          signedDigest: digestOf(head.fields, exchange, 'response.digest'),
        });
      } catch (thrown) {
        failure ??= thrown;
      }
    }
    throw failure;
  }
}

/** Proof that a whole message, content included, is what the peer signed. */
export class CompleteMessage {
  declare protected readonly nominal: never;
  readonly head: SignedHead;
  readonly length: number;
  readonly sha256: Uint8Array;
  readonly evidence: SignatureEvidence;
  /** Trailers of a stream, as received; `;req;tr` of the answer resolves in them. */
  readonly trailers: Fields | undefined;

  private constructor(
    head: SignedHead,
    meter: BodyMeter,
    evidence: SignatureEvidence,
    trailers: Fields | undefined,
  ) {
    this.head = head;
    this.length = meter.length;
    this.sha256 = meter.digest();
    this.evidence = evidence;
    this.trailers = trailers;
  }

  /**
   * Compares what arrived with what was signed; for a stream also verifies the closing signature, with the key as the
   * registry lists it *now*: a key revoked during a long stream no longer counts.
   * @param meter has seen every byte of the content
   * @throws Denied `message.*` for requests, `response.*` for answers
   */
  static verify(
    head: SignedHead,
    meter: BodyMeter,
    trailers: Fields,
    peer: string,
    context: VerifierContext,
  ): CompleteMessage {
    const codes = head.kind === 'request' ? REQUEST_CODES : RESPONSE_CODES;
    const announced = head.exchange.length;
    if (announced !== undefined && announced !== meter.length) {
      throw new Denied(codes.length, `${meter.length} of ${announced} bytes`);
    }
    if (head.signedDigest !== undefined) {
      if (trailers.length > 0) throw new Denied(codes.completion, 'trailers after a whole message');
      if (!equalBytes(head.signedDigest, meter.digest()))
        throw new Denied(codes.digest, `after ${meter.length} bytes`);
      return new CompleteMessage(head, meter, head.evidence, undefined);
    }
    if (trailers.length === 0)
      throw new Denied(codes.incomplete, `no closing fields after ${meter.length} bytes`);
    if (trailers.length !== 4) throw new Denied(codes.completion, `${trailers.length} trailers`);
    const length = translate(codes.completion, () => parseEnd(fieldValue(trailers, END)));
    if (length !== meter.length) throw new Denied(codes.length, `${meter.length} of ${length} bytes`);
    const digest = translate(
      codes.completion,
      () => parseContentDigest(fieldValue(trailers, DIGEST) ?? '').sha256,
    );
    if (!equalBytes(digest, meter.digest())) throw new Denied(codes.digest, `after ${meter.length} bytes`);
    const view = { ...head.view, trailers };
    const components = (): readonly Component[] =>
      head.binding === undefined
        ? requestComponents(head.view.fields, 'stream', 'final')
        : responseComponents(head.view.fields, 'stream', 'final', head.binding);
    const { evidence, params } = verify(
      view,
      trailers,
      'final',
      head.exchange,
      peer,
      context,
      codes,
      components,
      false,
    );
    // One message, one id and one window: a closing signature of another message does not fit.
    const { created, expires, keyid } = head.params;
    if (params.created !== created || params.expires !== expires || params.keyid !== keyid) {
      throw new Denied(codes.completion, 'closing signature has other parameters');
    }
    return new CompleteMessage(head, meter, evidence, trailers);
  }
}

interface Codes {
  readonly missing: RefusalCode;
  readonly invalid: RefusalCode;
  readonly uncovered: RefusalCode;
  readonly key: RefusalCode;
  readonly expired: RefusalCode;
  readonly digest: RefusalCode;
  readonly length: RefusalCode;
  readonly completion: RefusalCode;
  readonly incomplete: RefusalCode;
  readonly nonce: RefusalCode;
}

const REQUEST_CODES: Codes = {
  missing: 'message.signature_missing',
  invalid: 'message.signature_invalid',
  uncovered: 'message.component_uncovered',
  key: 'message.key_unknown',
  expired: 'message.expired',
  digest: 'message.digest_mismatch',
  length: 'message.length_mismatch',
  completion: 'message.completion',
  incomplete: 'message.incomplete',
  nonce: 'message.inconsistent',
};

const RESPONSE_CODES: Codes = {
  missing: 'response.signature',
  invalid: 'response.signature',
  uncovered: 'response.binding',
  key: 'response.signature',
  expired: 'response.signature',
  digest: 'response.digest',
  length: 'response.digest',
  completion: 'response.incomplete',
  incomplete: 'response.incomplete',
  nonce: 'response.binding',
};

/** One signature under one label: nothing else in the signature fields is looked at, and nothing else may be there. */
function verify(
  view: RequestView | ResponseView,
  bag: Fields,
  label: Label,
  exchange: ExchangeField,
  sender: string,
  context: VerifierContext,
  codes: Codes,
  components: () => readonly Component[],
  fresh = true,
): { evidence: SignatureEvidence; params: SignatureParams } {
  const signatures = translate(codes.missing, () => parseSignatures(bag));
  const found = signatures.get(label);
  if (found === undefined || signatures.size !== 1)
    throw new Denied(codes.missing, `labels ${quoted([...signatures.keys()].join(' '))}`);
  const { params, raw } = found.input;
  if (params.tag !== TAG[label]) throw new Denied(codes.missing, `tag ${quoted(params.tag ?? '')}`);
  if (params.nonce !== exchange.id) throw new Denied(codes.nonce, 'nonce is not the exchange id');
  const expected = components();
  // Our own spelling of what must be covered, compared as text: order, parameters and `alg` (never sent) included.
  if (raw !== formatSignatureInput(expected, params) || params.alg !== undefined) {
    throw new Denied(codes.uncovered, quoted(raw, 300));
  }
  const now = context.clock.now();
  if (fresh) requireWindow(params, now, codes);
  const kid = params.keyid ?? '';
  const key = context.messageKey(sender, kid, now);
  if (key === undefined) throw new Denied(codes.key, quoted(kid, 200));
  const base = translate(codes.uncovered, () => signatureBase(view, expected, raw));
  if (!verifyBase(key.algorithm, key.publicKey, base, found.signature))
    throw new Denied(codes.invalid, `key ${quoted(kid, 200)}`);
  return { params, evidence: { kid, label, base, value: base64(found.signature) } };
}

function requireWindow(params: SignatureParams, now: EpochMs, codes: Codes): void {
  const { created, expires } = params;
  if (created === undefined || expires === undefined)
    throw new Denied(codes.uncovered, 'created or expires missing');
  const seconds = toSeconds(now);
  const sane = expires > created && expires - created <= LIFETIME_S;
  if (!sane || seconds < created - SKEW_S || seconds > expires + SKEW_S) {
    throw new Denied(codes.expired, `created ${created}, expires ${expires}, now ${seconds}`);
  }
}

function requireRoute(exchange: ExchangeField, peer: string, me: string): void {
  if (exchange.from !== peer || exchange.to !== me) {
    throw new Denied('message.inconsistent', `from ${quoted(exchange.from)} to ${quoted(exchange.to)}`);
  }
}

/** In an answer, an inconsistent field means: not the answer to what we asked. */
function answering<T>(read: () => T): T {
  return translate('response.binding', read);
}

/** A format error inside a check becomes that check's refusal; the cause stays for the log. */
function translate<T>(code: RefusalCode, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof MalformedBytes || cause instanceof Denied)
      throw new Denied(code, cause.message, { cause });
    throw cause;
  }
}

/** `full` mode states its digest in the headers, `stream` mode must not: header and trailer are never merged. */
function digestOf(fields: Fields, exchange: ExchangeField, code: RefusalCode): Uint8Array | undefined {
  const value = fieldValue(fields, DIGEST);
  if (exchange.mode === 'full') return translate(code, () => parseContentDigest(value ?? '').sha256);
  if (value !== undefined) throw new Denied(code, 'content-digest in the headers of a stream');
  return undefined;
}

/** Fields for the receiver behind us. Ours and the signature's stay here. */
function carriedFields(fields: Fields): Fields {
  return fields.filter(
    ([name]) => name !== INPUT && name !== SIGNATURE && name !== DIGEST && name !== EXCHANGE,
  );
}
