import { createPrivateKey, randomBytes, type KeyObject } from 'node:crypto';
import { base64, base64url, sha256 } from '../../gateway/core/bytes.ts';
import type { Clock } from '../../gateway/core/clock.ts';
import type { ExchangeId } from '../../gateway/core/ids.ts';
import type { OpenLogOptions } from '../../gateway/evidence/log.ts';
import type { RecordDraft } from '../../gateway/evidence/record.ts';

/** An Ed25519 key that is the same in every run. */
export const keyFrom = (seed: string): KeyObject =>
  createPrivateKey({
    // RFC 8410 §7: the DER around a seed.
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), sha256(seed)]),
    format: 'der',
    type: 'pkcs8',
  });

/** The same on P-256. */
export const p256From = (seed: string): KeyObject =>
  createPrivateKey({
    // RFC 5915 §3 in RFC 5208: the DER around the number; the public key is left out, and found by whoever reads it.
    key: Buffer.concat([
      Buffer.from('3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420', 'hex'),
      sha256(seed),
    ]),
    format: 'der',
    type: 'pkcs8',
  });

export const CONSUMER = 'gw.a11.tw.troad.example';
export const PROVIDER = 'gw.b07.tw.troad.example';
export const originOf = (gateway: string, epoch = 1): string => `${gateway}/troad-log/gw1/${epoch}`;

/** A clock that stands still unless it is moved. */
export class HandClock implements Clock {
  at = Date.UTC(2026, 10, 22);
  now(): number {
    return this.at;
  }
  monotonic(): number {
    return this.at;
  }
}

/** Small segments, so that a short test sees several. */
export const logOptions = (dir: string, more: Partial<OpenLogOptions> = {}): OpenLogOptions => ({
  dir,
  origin: originOf(CONSUMER),
  signingKey: keyFrom(more.origin ?? originOf(CONSUMER)),
  clock: new HandClock(),
  random: randomBytes,
  software: 'test',
  pid: 1,
  segmentBytes: 1 << 16,
  ...more,
});

export const exchangeId = (n: number): ExchangeId =>
  base64url(sha256(`exchange ${n}`).subarray(0, 16)) as ExchangeId; // 16 bytes: an exchange id by its definition

type ExchangeKind =
  'open' | 'req.final' | 'res.final' | 'recheck' | 'deny' | 'abort' | 'sig.bad' | 'replay.seen';
type ExchangeDraft = Extract<RecordDraft, { readonly k: ExchangeKind }>;

/** A record of the `n`-th exchange with all a real one has. */
export function draft(k: ExchangeKind, n: number, more: Partial<ExchangeDraft> = {}): ExchangeDraft {
  return {
    k,
    at: Date.UTC(2026, 10, 22) + n,
    x: exchangeId(n),
    role: 'c',
    me: CONSUMER,
    peer: PROVIDER,
    client: 'TW/GOV/A11/welfare',
    svc: 'TW/GOV/B07/housing/echo',
    op: 'POST',
    mode: 'full',
    len: n,
    dg: `sha-256:${base64(sha256(`body ${n}`))}`,
    out: 'ok',
    ...more,
  };
}
