import { Denied, quoted } from '../core/errors.ts';
import { fieldValue, type Field, type Fields } from '../core/fields.ts';
import type { RequestHead, ResponseHead } from '../core/head.ts';
import type { RefusalCode } from '../core/refusals.ts';
import { parseContentDigest } from '../httpsig/digest.ts';
import type { SignatureParams } from '../httpsig/signature-input.ts';
import { requestView, type RequestView, type ResponseView } from '../httpsig/view.ts';
import { EXCHANGE, parseExchange, type ExchangeField } from './exchange-field.ts';
import {
  DIGEST,
  INPUT,
  SIGNATURE,
  requestCoverage,
  responseCoverage,
  type Label,
  type RequestBinding,
} from './profile.ts';
import type { SignatureEvidence } from './signer.ts';
import {
  REQUEST_CODES,
  RESPONSE_CODES,
  translate,
  verifySignature,
  type VerifierContext,
} from './verification.ts';

/** What an answer may be tied to, the most first. */
const OF_WHOLE: readonly RequestBinding[] = [{ mode: 'full', label: 'final' }];
const OF_STREAM: readonly RequestBinding[] = [
  { mode: 'stream', label: 'final' },
  { mode: 'stream', label: 'open' },
];

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
  /** SHA-256 of the content as signed in the headers (`full` mode), in base64. */
  readonly signedDigest: string | undefined;

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
    const { fields } = head;
    const view = requestView(head);
    const exchange = parseExchange(fieldValue(fields, EXCHANGE));
    const label: Label = exchange.mode === 'full' ? 'final' : 'open';
    const { evidence, params } = verifySignature(
      view,
      fields,
      label,
      exchange,
      peer,
      context,
      REQUEST_CODES,
      () => requestCoverage(fields, exchange.mode, label),
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
      fields: carriedFields(fields),
      signedDigest: digestOf(fields, exchange, 'message.digest_mismatch'),
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
    const view: ResponseView = { kind: 'response', status: head.status, fields: head.fields, request };
    // An answer may come before the request's end was seen; then it is tied to what opened the request.
    const bindings = asked.mode === 'full' ? OF_WHOLE : OF_STREAM;
    let failure: unknown;
    for (const binding of bindings) {
      if (binding.label === 'final' && binding.mode === 'stream' && request.trailers === undefined) continue;
      try {
        const { evidence, params } = verifySignature(
          view,
          head.fields,
          label,
          exchange,
          asked.to,
          context,
          RESPONSE_CODES,
          () => responseCoverage(head.fields, exchange.mode, label, binding),
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

function requireRoute(exchange: ExchangeField, peer: string, me: string): void {
  if (exchange.from !== peer || exchange.to !== me) {
    throw new Denied('message.inconsistent', `from ${quoted(exchange.from)} to ${quoted(exchange.to)}`);
  }
}

/** In an answer, an inconsistent field means: not the answer to what we asked. */
function answering<T>(read: () => T): T {
  return translate('response.binding', read);
}

/** `full` mode states its digest in the headers, `stream` mode must not: header and trailer are never merged. */
function digestOf(fields: Fields, exchange: ExchangeField, code: RefusalCode): string | undefined {
  const value = fieldValue(fields, DIGEST);
  if (exchange.mode === 'full') return translate(code, () => parseContentDigest(value ?? ''));
  if (value !== undefined) throw new Denied(code, 'content-digest in the headers of a stream');
  return undefined;
}

/** Fields for the receiver behind us. Ours and the signature's stay here. */
function carriedFields(fields: Fields): Fields {
  const carried: Field[] = [];
  for (const field of fields) {
    const [name] = field;
    if (name !== INPUT && name !== SIGNATURE && name !== DIGEST && name !== EXCHANGE) carried.push(field);
  }
  return carried;
}
