import { describe } from '../core/errors.ts';
import { toUuid, type ExchangeId } from '../core/ids.ts';
import { REFUSALS, isRefusalCode } from '../core/refusals.ts';
import { VerifiedBatches } from '../message/message-signature.ts';
import type { PartClass } from '../evidence/record.ts';
import { AskedRequests } from './asked-requests.ts';
import { CoveredUntil } from './coverage.ts';
import { ExchangeBook } from './exchanges.ts';
import { readExtra, type ShownExtra } from './extra.ts';
import { idsOf, recordsOf, type Found } from './find-exchange.ts';
import { requireEpochs, type ReadStorage } from './folder.ts';
import { timeText, type ExchangeRecord, type LoggedRecord } from './records.ts';
import { Step, type StepReport } from './report.ts';
import {
  isMessage,
  readSignedText,
  requireSigned,
  SEALED,
  shownSignature,
  verifyMessage,
  type ShownSignature,
  type SignedText,
} from './signatures.ts';
import { ShownLog, type Wait } from './shown-log.ts';
import type { Trust } from './trust-file.ts';

export interface ShowOptions {
  readonly storage: ReadStorage;
  readonly logs: readonly string[];
  readonly trust: Trust;
  /** X-Road-Id, exchange id, or exchange id as UUID. */
  readonly id: string;
  /** Given where a log may still be written: records of this second wait for their signed head. */
  readonly wait?: Wait;
}

/** One record of the story. */
export interface ShownRecord {
  readonly at: string;
  readonly gateway: string;
  readonly member: string | undefined;
  readonly side: 'consumer' | 'provider';
  readonly kind: ExchangeRecord['k'];
  readonly log: string;
  readonly index: string;
  /** What the record says, as logged. */
  readonly record: ExchangeRecord;
  /** Path and query, when the sealed part could be opened. */
  readonly target: string | undefined;
  /** The exact text of the message that was signed, under the same condition. */
  readonly base: string | undefined;
  /** Noted because the policy demanded `extra_logging`, under the same condition. */
  readonly extra: ShownExtra | undefined;
  /** Who signed the message, when that was proved, and what `openssl` can prove it with. */
  readonly signedBy:
    | (ShownSignature & {
        readonly gateway: string;
        readonly member: string;
        readonly kid: string;
        readonly alg: string;
      })
    | undefined;
}

export interface ShownExchange {
  readonly exchange: ExchangeId;
  readonly uuid: string;
  readonly xRoadId: string | undefined;
  /** Record of the request: one whose signature was checked, if there is one, and else the first. */
  readonly request: ShownRecord | undefined;
  readonly records: readonly ShownRecord[];
  readonly steps: readonly StepReport[];
}

export interface ShowReport {
  readonly result: 'good' | 'bad' | 'not found';
  readonly exchanges: readonly ShownExchange[];
  /** Exchanges of that name beyond those shown. */
  readonly more: number;
}

/** A client may use one X-Road-Id for many requests. */
const MAX_SHOWN = 20;

/** Tells an exchange from the logs, each sentence with its proof. */
export async function showExchange(options: ShowOptions): Promise<ShowReport> {
  const { storage, trust, id, wait } = options;
  const logs: ShownLog[] = [];
  for (const path of options.logs) {
    for (const epoch of await requireEpochs(storage, path))
      logs.push(await ShownLog.open(storage, epoch, trust, wait));
  }
  const covered = new CoveredUntil();
  const ids = await idsOf(id, logs, covered);
  const shown = ids.slice(0, MAX_SHOWN);
  const found = await recordsOf(shown, logs);
  const exchanges: ShownExchange[] = [];
  for (const x of shown) {
    const own = found.filter(({ record }) => record.x === x);
    exchanges.push(await tell(x, own, covered, trust));
  }
  const more = ids.length - shown.length;
  if (exchanges.length === 0) return { result: 'not found', exchanges, more };
  const bad = exchanges.some(({ steps }) => steps.some(({ status }) => status === 'fail'));
  return { result: bad ? 'bad' : 'good', exchanges, more };
}

async function tell(
  x: ExchangeId,
  found: Found[],
  covered: CoveredUntil,
  trust: Trust,
): Promise<ShownExchange> {
  const tree = new Step('records are in the signed logs');
  const parts = new Step('sealed parts are those committed to');
  const messages = new Step('message signatures verify');
  const agree = new Step('both ends agree');
  const records: ShownRecord[] = [];
  const requests = new AskedRequests();
  const book = new ExchangeBook();
  found.sort(
    (a, b) => a.record.at - b.record.at || (a.log === b.log ? Number(a.logged.index - b.logged.index) : 0),
  );
  for (const { log, logged, record } of found) {
    const at = { index: String(logged.index), exchange: x };
    try {
      await log.requireIncluded(logged);
      tree.checked += 1;
    } catch (cause) {
      tree.find('fail', 'not proved', `${log.origin}: ${describe(cause)}`, at);
    }
    const opened = openMeta(record, logged, parts);
    const { text, extra } = opened;
    const signedBy = signerOf(record, opened, trust, messages, requests, at);
    book.add(logged.index, record);
    records.push({
      at: timeText(record.at),
      gateway: record.me,
      member: trust.gateways.get(record.me)?.member,
      side: record.role === 'c' ? 'consumer' : 'provider',
      kind: record.k,
      log: log.origin,
      index: String(logged.index),
      record,
      target: text?.path === undefined ? undefined : text.path + (text.query ?? ''),
      base: text?.base,
      extra,
      signedBy,
    });
  }
  book.judge(agree, covered);
  const request =
    records.find(({ kind, signedBy }) => signedBy !== undefined && kind !== 'res.final') ??
    records.find(({ record }) => record.xid !== undefined) ??
    records[0];
  return {
    exchange: x,
    uuid: toUuid(x),
    xRoadId: request?.record.xid,
    request,
    records,
    steps: [tree, parts, messages, agree].map((step) => step.report()),
  };
}

interface Opened {
  readonly text?: SignedText | undefined;
  readonly extra?: ShownExtra | undefined;
  /** Why the signed text is not whole, if it is not. */
  readonly sealed?: string | undefined;
}

function openMeta(record: ExchangeRecord, logged: LoggedRecord, parts: Step): Opened {
  if (record.parts?.meta === undefined) return {};
  const open = (partClass: PartClass): Buffer | 'sealed' => {
    const part = logged.parts.open(record, partClass);
    if (part === 'sealed') parts.leave();
    else parts.checked += 1;
    return part;
  };
  try {
    const meta = open('meta');
    if (meta === 'sealed') return { sealed: SEALED.meta };
    const text = isMessage(record) ? readSignedText(meta, () => open('subject')) : undefined;
    return { text, extra: readExtra(meta), sealed: SEALED.subject };
  } catch (cause) {
    parts.find('fail', 'part', describe(cause), { index: String(logged.index), exchange: record.x });
    return {};
  }
}

function signerOf(
  record: ExchangeRecord,
  { text, sealed }: Opened,
  trust: Trust,
  messages: Step,
  requests: AskedRequests,
  at: { readonly index: string; readonly exchange: string },
): ShownRecord['signedBy'] {
  if (!isMessage(record)) return undefined;
  try {
    requireSigned(record);
    const known = text === undefined || requests.read(record, text.kept);
    if (text?.base === undefined) {
      messages.leave(sealed);
      return undefined;
    }
    const { base } = text;
    const { gateway, kid, alg } = verifyMessage(record, { ...text, base }, trust, new VerifiedBatches());
    if (known) messages.checked += 1;
    else messages.leave(SEALED.request);
    const { name, member } = gateway;
    return { gateway: name, member, kid, alg, ...shownSignature(record, base, alg) };
  } catch (cause) {
    messages.find('fail', 'signature', describe(cause), at);
    return undefined;
  }
}

/** What became of it, in words. */
export function outcomeOf({ kind, record }: ShownRecord): string {
  const { out, status } = record;
  if (out !== 'ok')
    return isRefusalCode(out) ? `${out}: ${REFUSALS[out].en}` : 'an outcome this version does not know';
  switch (kind) {
    case 'open':
      return 'admitted on its head; the content follows as a stream';
    case 'req.final':
      return 'request complete, signed and recorded';
    case 'res.final':
      return `answer ${status ?? ''} complete, signed and recorded`;
    case 'recheck':
      return 'decided again while it ran; it goes on';
    default:
      return 'recorded';
  }
}
