// What a device sends to be appraised, and what its quote is bound to.
import { gunzipSync } from 'node:zlib';
import { sha256, utf8 } from '../core/bytes.ts';
import { MAX_LOG_BYTES } from '../tpm/event-log.ts';
import { u16 } from '../tpm/cursor.ts';
import { Refused } from './refused.ts';
import { MAX_CLAIMS } from './health.ts';
import { Shape } from './shape.ts';

export interface Evidence {
  readonly session: string;
  /** Gateway that the result shall be for. */
  readonly audience: string;
  /** SHA-256 of the TLS certificate that the result shall be bound to. */
  readonly certificate: Buffer;
  /** TPMS_ATTEST. */
  readonly attest: Buffer;
  /** TPMT_SIGNATURE. */
  readonly signature: Buffer;
  /** As the firmware wrote it. */
  readonly eventLog: Buffer;
  /** JSON (RFC 8785). */
  readonly claims: Buffer;
  /** Values of PCRs that the log does not tell of, by index. Believed only as far as the quote's digest holds them. */
  readonly pcrValues: ReadonlyMap<number, Buffer>;
}

/** Largest log that travels: real ones shrink to half. */
const MAX_GZIP = 512 * 1024;

/** @throws MalformedBytes, Refused `evidence.log_too_large` */
export function parseEvidence(body: Readonly<Record<string, unknown>>): Evidence {
  return Shape.receive(body, 'evidence', (evidence) => ({
    session: evidence.text('session', /^[A-Za-z0-9_-]{43}$/),
    audience: evidence.text('audience', /^[A-Za-z0-9._-]{1,253}$/),
    certificate: evidence.bytes('certificate', 32),
    attest: evidence.bytes('attest', 2048),
    signature: evidence.bytes('signature', 1024),
    eventLog: unzip(evidence.bytes('eventLog', MAX_GZIP)),
    claims: evidence.bytes('claims', MAX_CLAIMS),
    pcrValues: new Map(
      evidence.objects(
        'pcrValues',
        (value) => [value.integer('pcr', 0, 23), value.bytes('value', 64)] as const,
      ),
    ),
  }));
}

/** Never more than the largest log, however small the sender made it. */
function unzip(bytes: Uint8Array): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_LOG_BYTES });
  } catch (cause) {
    const tooLarge = cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE';
    throw new Refused(tooLarge ? 'evidence.log_too_large' : 'evidence.log', 'not gzip of an event log', {
      cause,
    });
  }
}

/**
 * The 32 bytes a quote carries: everything that belongs together, so that no part can be exchanged for another's.
 * Each part has its length before it: no two lists of parts give the same bytes.
 */
export function qualifyingData(
  nonce: Uint8Array,
  evidence: Pick<Evidence, 'audience' | 'certificate' | 'claims' | 'eventLog'>,
): Buffer {
  const parts = [
    utf8(evidence.audience),
    nonce,
    evidence.certificate,
    sha256(evidence.claims),
    sha256(evidence.eventLog),
  ];
  return sha256('troad-attest-v1\0', ...parts.flatMap((part) => [u16(part.length), part]));
}
