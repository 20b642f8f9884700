import { Denied } from '../core/errors.ts';
import { fieldValue, type Fields } from '../core/fields.ts';
import type { Coverage } from '../httpsig/base.ts';
import { parseContentDigest } from '../httpsig/digest.ts';
import type { BodyMeter } from './digest.ts';
import { END, parseEnd } from './exchange-field.ts';
import { DIGEST, requestCoverage, responseCoverage } from './profile.ts';
import type { SignedHead } from './signed-head.ts';
import type { SignatureEvidence } from './signer.ts';
import {
  REQUEST_CODES,
  RESPONSE_CODES,
  translate,
  verifySignature,
  type VerifierContext,
} from './verification.ts';

/** Proof that a whole message, content included, is what the peer signed. */
export class CompleteMessage {
  declare protected readonly nominal: never;
  readonly head: SignedHead;
  readonly length: number;
  /** In base64. */
  readonly sha256: string;
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
      if (head.signedDigest !== meter.digest()) throw new Denied(codes.digest, `after ${meter.length} bytes`);
      return new CompleteMessage(head, meter, head.evidence, undefined);
    }
    if (trailers.length === 0)
      throw new Denied(codes.incomplete, `no closing fields after ${meter.length} bytes`);
    if (trailers.length !== 4) throw new Denied(codes.completion, `${trailers.length} trailers`);
    const length = translate(codes.completion, () => parseEnd(fieldValue(trailers, END)));
    if (length !== meter.length) throw new Denied(codes.length, `${meter.length} of ${length} bytes`);
    const digest = translate(codes.completion, () => parseContentDigest(fieldValue(trailers, DIGEST) ?? ''));
    if (digest !== meter.digest()) throw new Denied(codes.digest, `after ${meter.length} bytes`);
    const view = { ...head.view, trailers };
    const coverage = (): Coverage =>
      head.binding === undefined
        ? requestCoverage(head.view.fields, 'stream', 'final')
        : responseCoverage(head.view.fields, 'stream', 'final', head.binding);
    const { evidence, params } = verifySignature(
      view,
      trailers,
      'final',
      head.exchange,
      peer,
      context,
      codes,
      coverage,
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
