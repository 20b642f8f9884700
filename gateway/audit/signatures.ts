// The deep pass: each message signature again, from the text that was signed and the registered key.
import { base64, fromBase64, utf8 } from '../core/bytes.ts';
import { describe, MalformedBytes, quoted } from '../core/errors.ts';
import { readMeta, withSubject } from '../evidence/meta-part.ts';
import { exportSignature } from '../httpsig/algorithm.ts';
import { parseContentDigest } from '../httpsig/digest.ts';
import { BATCH_ALG, BatchSignature, rootText } from '../message/batch.ts';
import { END, EXCHANGE, parseEnd, parseExchange } from '../message/exchange-field.ts';
import { isMessageSigned, type VerifiedBatches } from '../message/message-signature.ts';
import { DIGEST, LIFETIME_S, SKEW_S, TAG } from '../message/profile.ts';
import { parseRoute } from '../message/target.ts';
import { hashBytes, leafTextOf } from '../tlog/hash.ts';
import type { ExchangeRecord } from './records.ts';
import type { Trust, TrustedKey } from './trust-file.ts';

/** What the `meta` part of a signed message holds, and the `subject` part where it covers a user's assertion. */
export interface SignedText {
  /** The exact signature base; undefined when a piece of it is in a `subject` part that cannot be opened any more. */
  readonly base: string | undefined;
  /** As it stands in the `meta` part: perhaps without that piece. */
  readonly kept: string;
  readonly path: string | undefined;
  readonly query: string | undefined;
}

/** Kinds whose record stands for a message, which its sender has signed. */
export const isMessage = ({ k }: ExchangeRecord): boolean =>
  k === 'open' || k === 'req.final' || k === 'res.final';

/** Of a message. @throws MalformedBytes its record does not say who signed what: nobody could ever check it */
export function requireSigned({ sig, kid, parts }: ExchangeRecord): void {
  if (sig === undefined || kid === undefined || parts?.meta === undefined)
    throw new MalformedBytes('the record of a message lacks its signature, or what was signed');
}

/** Why a signature cannot be checked: what it is over is sealed under a key that is not here. */
export const SEALED = {
  meta: 'what was signed is in sealed parts of class meta, whose keys are not here  被簽署的本文在密封部分 meta 中，其金鑰不在此處',
  subject:
    'the user’s assertion that was signed with the rest is in sealed parts of class subject, whose keys are not here; records, digests and tree do not need it  一併簽署的使用者身分聲明在密封部分 subject 中，其金鑰不在此處；紀錄、摘要與雜湊樹的檢查不受影響',
  request:
    'which request it answers: what was signed of that is not in this log, or its key is not here  回應所對應的請求本文不在此日誌中，或其金鑰不在此處',
} as const;

/**
 * @param subjectPart opens the same record's `subject` part
 * @throws MalformedBytes
 */
export function readSignedText(part: Buffer, subjectPart: () => Buffer | 'sealed'): SignedText {
  const { told, base } = readMeta(part);
  let value: Partial<Record<'path' | 'query' | 'subject', unknown>>;
  try {
    const parsed: unknown = JSON.parse(told);
    value = typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch (cause) {
    throw new MalformedBytes(`meta part is not JSON: ${describe(cause)}`);
  }
  if (base === undefined) throw new MalformedBytes('meta part has no signature base');
  const { path, query, subject } = value;
  return {
    base: subject === undefined ? base : completed(base, subject, subjectPart()),
    kept: base,
    path: typeof path === 'string' ? path : undefined,
    query: typeof query === 'string' ? query : undefined,
  };
}

const completed = (base: string, name: unknown, part: Buffer | 'sealed'): string | undefined =>
  part === 'sealed' ? undefined : withSubject(base, name, part.toString('utf8'));

/** Who has to have signed: the consumer's gateway its request, the provider's its answer. */
export const senderOf = ({ k, role, me, peer }: ExchangeRecord): string | undefined =>
  (k === 'res.final') === (role === 'p') ? me : peer;

const receiverOf = (record: ExchangeRecord): string | undefined =>
  senderOf(record) === record.me ? record.peer : record.me;

/**
 * Checks one message signature, that the sender's registered key made it, and that the signed text says what the record
 * says.
 * @throws MalformedBytes why not
 */
export function verifyMessage(
  record: ExchangeRecord,
  { base, path, query }: Omit<SignedText, 'kept'> & { readonly base: string },
  trust: Trust,
  batches: VerifiedBatches,
): TrustedKey {
  const { k, x, op, client, xid, status, dg, sig = '', kid = '' } = record;
  const key = trust.messageKeys.get(kid);
  if (key === undefined) throw new MalformedBytes(`key ${quoted(kid)} is not in the trust file`);
  if (key.gateway.name !== senderOf(record)) {
    throw new MalformedBytes(
      `key of ${key.gateway.name} on a message of ${quoted(senderOf(record) ?? 'nobody')}`,
    );
  }
  const signature = fromBase64(sig);
  const { alg: algorithm, publicKey } = key;
  if (
    signature === undefined ||
    !isMessageSigned(base, algOf(base), { algorithm, publicKey }, signature, batches)
  ) {
    throw new MalformedBytes('the signature is wrong');
  }
  // The text is the sender's from here on; what follows compares it with what the log's owner wrote beside it.
  const lines = readBase(base);
  // Requests and answers have one tag: whoever was sent one must not show it as the other.
  const isAnswer = lines.has('"@status"');
  if (isAnswer !== (k === 'res.final'))
    throw new MalformedBytes(`the signed text is of ${isAnswer ? 'an answer' : 'a request'}`);
  const params = lines.get('"@signature-params"') ?? '';
  requireParam(params, 'nonce', x);
  requireParam(params, 'keyid', kid);
  requireParam(params, 'tag', k === 'open' ? TAG.open : TAG.final);
  const created = Number(/;created=(\d{1,12})(?:;|$)/.exec(params)?.[1]) * 1000;
  // Gateways ask for a key that is in force when the message comes: signed within its lifetime before, by a clock as far off
  // as they allow.
  const [from, to] = [key.notBefore - (LIFETIME_S + SKEW_S) * 1000, key.notAfter + SKEW_S * 1000];
  if (!(created >= from && created <= to)) {
    throw new MalformedBytes(
      `signed at ${created}, the key is valid from ${key.notBefore} to ${key.notAfter}`,
    );
  }
  requireExchange(record, lines, key.gateway.name);
  const request = k === 'res.final' ? ';req' : '';
  requireLine(lines, `"@method"${request}`, op);
  requireLine(lines, `"@path"${request}`, path);
  requireLine(lines, `"@query"${request}`, query === '' ? '?' : query);
  requireService(lines.get(`"@path"${request}`), record.svc);
  if (k === 'res.final') requireLine(lines, '"@status"', status === undefined ? undefined : String(status));
  else {
    requireLine(lines, '"x-road-client"', client);
    requireLine(lines, '"x-road-id"', xid);
  }
  if (k !== 'open') {
    const digest = lines.get(`"${DIGEST}"`) ?? lines.get(`"${DIGEST}";tr`);
    // As the gateway reads it, which lets other digests stand beside ours: whom it believes must not make its log a bad one.
    if (digest === undefined || dg !== `sha-256:${parseContentDigest(digest)}`) {
      throw new MalformedBytes('the signed digest is not the one in the record');
    }
  }
  return key;
}

/** Between whom, in which mode and how long. @throws MalformedBytes, Denied */
function requireExchange(record: ExchangeRecord, lines: ReadonlyMap<string, string>, sender: string): void {
  const { x, mode, len } = record;
  const exchange = parseExchange(lines.get(`"${EXCHANGE}"`));
  const receiver = receiverOf(record) ?? exchange.to;
  if (exchange.id !== x || exchange.from !== sender || exchange.to !== receiver)
    throw new MalformedBytes('the signed text is of another exchange, sender or receiver');
  if ((mode ?? exchange.mode) !== exchange.mode)
    throw new MalformedBytes('mode is not the one in the record');
  const end = lines.get(`"${END}";tr`);
  const length = end === undefined ? exchange.length : parseEnd(end);
  if (len !== undefined && (length ?? len) !== len)
    throw new MalformedBytes('length is not the one in the record');
}

/** @throws MalformedBytes, Denied */
function requireService(path: string | undefined, service: string | undefined): void {
  if (service !== undefined && parseRoute(path ?? '').service !== service)
    throw new MalformedBytes('the path is not of the service in the record');
}

/** The form of the signature, as the text states it. Whoever wrote the text, only one form of signature fits it. */
const algOf = (base: string): string | undefined =>
  /;alg="([^"]*)";keyid="/.exec(base.slice(base.lastIndexOf('\n') + 1))?.[1];

/** A signature with all that a person needs to check it without this program. */
export interface ShownSignature {
  /** Base64, as all bytes here: what the key has signed. The text of the message or, of a batch, what names its root. */
  readonly signed: string;
  /** As OpenSSL reads it: for ECDSA in DER, where record and wire have r and s side by side. */
  readonly signature: string;
  /** For a message that was signed together with others. */
  readonly batch: SharedSignature | undefined;
}

/** How the text of one message leads to what was signed for a whole batch. */
export interface SharedSignature {
  /** Place among the messages of the batch, from 0. */
  readonly index: number;
  readonly size: number;
  /** SHA-256 at the top of the tree. */
  readonly root: string;
  /** Siblings on the way up (RFC 6962 §2.1.1). */
  readonly path: readonly string[];
}

/** To be asked for messages that were verified with a key of this algorithm. */
export function shownSignature(
  { sig = '' }: ExchangeRecord,
  base: string,
  algorithm: TrustedKey['alg'],
): ShownSignature {
  const value = Buffer.from(sig, 'base64');
  const shown = (text: string, signature: Buffer): Omit<ShownSignature, 'batch'> => ({
    signed: base64(utf8(text)),
    signature: base64(exportSignature(algorithm, signature)),
  });
  if (algOf(base) !== BATCH_ALG) return { ...shown(base, value), batch: undefined };
  const batch = new BatchSignature(value);
  const { index, size, path } = batch;
  const root = hashBytes(batch.rootOf(leafTextOf(base)));
  return {
    ...shown(rootText(size, root), batch.rootSignature),
    batch: { index, size, root: base64(root), path: path.map(base64) },
  };
}

/** Lines of a signature base (RFC 9421 §2.5) by their component identifier. */
export function readBase(base: string): ReadonlyMap<string, string> {
  const lines = new Map<string, string>();
  for (const line of base.split('\n')) {
    const [, name, value] = /^("[^"]+"(?:;[a-z]+(?:="[^"]*")?)*): (.*)$/.exec(line) ?? [];
    if (name === undefined || value === undefined || lines.has(name)) {
      throw new MalformedBytes(`not a line of a signature base: ${quoted(line)}`);
    }
    lines.set(name, value);
  }
  return lines;
}

const PARAM = { nonce: /;nonce="([^"]*)"/, keyid: /;keyid="([^"]*)"/, tag: /;tag="([^"]*)"/ } as const;

function requireParam(params: string, name: keyof typeof PARAM, value: string): void {
  const found = PARAM[name].exec(params)?.[1];
  if (found !== value) throw new MalformedBytes(`${name} is ${quoted(found ?? 'absent')} in the signed text`);
}

/** What the record does not know is not compared. */
function requireLine(lines: ReadonlyMap<string, string>, name: string, value: string | undefined): void {
  if (value === undefined) return;
  if (lines.get(name) !== value) throw new MalformedBytes(`${name} is not the one in the record`);
}
