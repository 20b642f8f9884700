import type { Clock, EpochMs } from '../core/clock.ts';
import { toSeconds } from '../core/clock.ts';
import { base64 } from '../core/bytes.ts';
import { Denied, MalformedBytes, quoted } from '../core/errors.ts';
import type { Fields } from '../core/fields.ts';
import type { RefusalCode } from '../core/refusals.ts';
import type { Coverage } from '../httpsig/base.ts';
import { formatParams, parseSignatures, type SignatureParams } from '../httpsig/signature-input.ts';
import { readUsual, type UsualSignature } from '../httpsig/usual-input.ts';
import type { RequestView, ResponseView } from '../httpsig/view.ts';
import type { ExchangeField } from './exchange-field.ts';
import { BATCH_ALG } from './batch.ts';
import { isMessageSigned, type MessageKey, type VerifiedBatches } from './message-signature.ts';
import { LIFETIME_S, SKEW_S, TAG, type Label } from './profile.ts';
import type { SignatureEvidence } from './signer.ts';

/** What a verifier knows: itself, the time, the keys the registry lists for a gateway at that time, and what it has seen. */
export interface VerifierContext {
  readonly me: string;
  readonly clock: Clock;
  messageKey(gateway: string, kid: string, at: EpochMs): MessageKey | undefined;
  readonly batches: VerifiedBatches;
}

/** Which refusal each fault of a signature is: a request's are the requester's, an answer's are the peer's. */
export interface Codes {
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

export const REQUEST_CODES: Codes = {
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

export const RESPONSE_CODES: Codes = {
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
export function verifySignature(
  view: RequestView | ResponseView,
  bag: Fields,
  label: Label,
  exchange: ExchangeField,
  sender: string,
  context: VerifierContext,
  codes: Codes,
  covered: () => Coverage,
  fresh = true,
): { evidence: SignatureEvidence; params: SignatureParams } {
  const expected = translate(codes.uncovered, covered);
  const usual = readUsual(bag, label, expected.list);
  const { params, raw, signature, value } = usual ?? readAny(bag, label, codes);
  if (params.tag !== TAG[label]) throw new Denied(codes.missing, `tag ${quoted(params.tag ?? '')}`);
  if (params.nonce !== exchange.id) throw new Denied(codes.nonce, 'nonce is not the exchange id');
  // Our own spelling of what must be covered, compared as text: order, parameters and `alg` included, which is there
  // for a batch only and never names what made the signature.
  const inForm = params.alg === undefined || params.alg === BATCH_ALG;
  if (!inForm || (usual === undefined && raw !== expected.list + formatParams(params))) {
    throw new Denied(codes.uncovered, quoted(raw, 300));
  }
  const now = context.clock.now();
  if (fresh) requireWindow(params, now, codes);
  const kid = params.keyid ?? '';
  const key = context.messageKey(sender, kid, now);
  if (key === undefined) throw new Denied(codes.key, quoted(kid, 200));
  const base = translate(codes.uncovered, () => expected.base(view, raw.slice(expected.list.length)));
  const good = translate(codes.invalid, () =>
    isMessageSigned(base, params.alg, key, signature, context.batches),
  );
  if (!good) throw new Denied(codes.invalid, `key ${quoted(kid, 200)}`);
  return { params, evidence: { kid, label, base, value } };
}

/** The signature of a bag however it is spelled, or what is wrong with it. */
function readAny(bag: Fields, label: Label, codes: Codes): UsualSignature {
  const signatures = translate(codes.missing, () => parseSignatures(bag));
  const found = signatures.get(label);
  if (found === undefined || signatures.size !== 1)
    throw new Denied(codes.missing, `labels ${quoted([...signatures.keys()].join(' '))}`);
  const { input, signature } = found;
  return { params: input.params, raw: input.raw, signature, value: base64(signature) };
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

/** A format error inside a check becomes that check's refusal; the cause stays for the log. */
export function translate<T>(code: RefusalCode, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof MalformedBytes || cause instanceof Denied)
      throw new Denied(code, cause.message, { cause });
    throw cause;
  }
}
