import { equalBytes } from '../core/bytes.ts';
import { type ClockInfo, parseAttest } from '../tpm/attest.ts';
import { parseEventLog, replay } from '../tpm/event-log.ts';
import { initialPcr, pcrDigest, type PcrSelection, sameSelection } from '../tpm/pcr.ts';
import type { PublicArea } from '../tpm/public.ts';
import { requireSignature } from '../tpm/signature.ts';
import { type Evidence, qualifyingData } from './evidence.ts';
import type { ProvedPcr } from './policy.ts';
import { Refused, refusing } from './refused.ts';

const MALFORMED = ['MalformedBytes'];

/**
 * Proof that an enrolled device's TPM signed this evidence for this nonce. From here on what is wrong is the device's
 * own doing: nobody else could have made it.
 */
export class SignedEvidence {
  declare protected readonly nominal: never;
  readonly evidence: Evidence;
  readonly clockInfo: ClockInfo;
  readonly firmwareVersion: bigint;
  readonly selections: readonly PcrSelection[];
  readonly pcrDigest: Uint8Array;

  private constructor(
    evidence: Evidence,
    quote: Pick<SignedEvidence, 'clockInfo' | 'firmwareVersion' | 'selections' | 'pcrDigest'>,
  ) {
    this.evidence = evidence;
    this.clockInfo = quote.clockInfo;
    this.firmwareVersion = quote.firmwareVersion;
    this.selections = quote.selections;
    this.pcrDigest = quote.pcrDigest;
  }

  /**
   * The signature first: before it, the bytes are a stranger's.
   * @throws Refused `evidence.signature`, `evidence.structure`, `evidence.type`, `evidence.signer`, `evidence.binding`
   */
  static verify(
    evidence: Evidence,
    ak: { readonly area: PublicArea; readonly qualifiedName: Uint8Array },
    nonce: Uint8Array,
  ): SignedEvidence {
    refusing('evidence.signature', ['SignatureMismatch', ...MALFORMED], () => {
      requireSignature(ak.area, evidence.attest, evidence.signature);
    });
    const quote = refusing('evidence.structure', MALFORMED, () => parseAttest(evidence.attest));
    if (quote.type !== 'quote') throw new Refused('evidence.type', quote.type);
    if (!equalBytes(quote.qualifiedSigner, ak.qualifiedName)) {
      throw new Refused('evidence.signer', 'the key is not below the enrolled endorsement key');
    }
    if (!equalBytes(quote.extraData, qualifyingData(nonce, evidence))) {
      throw new Refused('evidence.binding', 'quote of another nonce, gateway, certificate, log or claims');
    }
    return new SignedEvidence(evidence, quote);
  }
}

/**
 * The PCRs as the quote proves them: replayed from the log, and values sent for those without a log.
 * @throws Refused `evidence.selection`, `evidence.log`, `evidence.bank`, `evidence.pcr_digest`
 */
export function provedPcrs(
  signed: SignedEvidence,
  wanted: PcrSelection,
  akHash: NonNullable<PublicArea['scheme']>['hash'],
): ReadonlyMap<number, ProvedPcr> {
  // A TPM quotes a bank it does not have, or nothing at all, without complaint.
  if (!sameSelection(signed.selections, [wanted]))
    throw new Refused('evidence.selection', 'not the PCRs asked for');
  const { eventLog, pcrValues } = signed.evidence;
  const log = refusing('evidence.log', MALFORMED, () => parseEventLog(eventLog));
  if (!log.banks.includes(wanted.hash.id))
    throw new Refused('evidence.bank', `no ${wanted.hash.name} in the log`);
  const replayed = replay(log, wanted.hash);
  const pcrs = new Map(
    wanted.pcrs.map((pcr): [number, ProvedPcr] => {
      const told = replayed.get(pcr);
      if (told !== undefined) return [pcr, { ...told, isLogged: true }];
      const start = initialPcr(wanted.hash, pcr);
      const value = pcrValues.get(pcr) ?? start;
      return [pcr, { digests: [], value, isLogged: start.equals(value) }];
    }),
  );
  const values = [...pcrs.values()].map(({ value }) => value);
  if (!equalBytes(pcrDigest(akHash, values), signed.pcrDigest)) {
    throw new Refused('evidence.pcr_digest', 'the log does not lead to the quoted PCRs');
  }
  return pcrs;
}
