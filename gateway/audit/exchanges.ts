import type { EpochMs } from '../core/clock.ts';
import type { Step } from './report.ts';
import type { ExchangeRecord } from './records.ts';

/** What is judged of one record of an exchange, with where it stands: of the many held at a time, nothing else is kept. */
interface Entry {
  readonly index: bigint;
  readonly record: Pick<ExchangeRecord, 'k' | 'at' | 'out'> & {
    readonly [K in (typeof COMPARED)[number]]: ExchangeRecord[K] | undefined;
  };
}

/** What is known of each gateway's log: only then "it has no record of it" means something. */
export interface Coverage {
  /** Time of the last record of a gateway's logs that were given; undefined when none was. */
  lastAt(gateway: string): EpochMs | undefined;
}

interface Exchange {
  readonly x: string;
  readonly consumer: string | undefined;
  readonly provider: string | undefined;
  readonly c: Entry[];
  readonly p: Entry[];
}

/** What both ends must say alike of one message. */
const COMPARED = ['dg', 'len', 'sig', 'kid', 'status', 'client', 'svc', 'op', 'mode', 'xid'] as const;
/** Records after which there is more to come. */
const UNDER_WAY: ReadonlySet<string> = new Set<ExchangeRecord['k']>(['open', 'req.final', 'recheck']);
const MESSAGES = ['open', 'req.final', 'res.final'] as const;

/** Collects the records of exchanges from all logs and sets the two halves of each side by side. */
export class ExchangeBook {
  readonly #exchanges = new Map<string, Exchange>();

  add(index: bigint, record: ExchangeRecord): void {
    const { x, role, me, peer, k, at, out } = record;
    const { dg, len, sig, kid, status, client, svc, op, mode, xid } = record;
    const [consumer, provider] = role === 'c' ? [me, peer] : [peer, me];
    // The two gateways are part of the key: whoever invents an id that others use makes an exchange of its own.
    const key = `${x} ${consumer ?? ''} ${provider ?? ''}`;
    let exchange = this.#exchanges.get(key);
    if (exchange === undefined) {
      exchange = { x, consumer, provider, c: [], p: [] };
      this.#exchanges.set(key, exchange);
    }
    const kept = { k, at, out, dg, len, sig, kid, status, client, svc, op, mode, xid };
    exchange[role].push({ index, record: kept });
  }

  judge(step: Step, coverage: Coverage): void {
    for (const exchange of this.#exchanges.values()) judge(exchange, step, coverage);
  }
}

/**
 * The rules, and which differences are none:
 * - The same message is recorded alike at both ends, signature included.
 * - A request that the provider took (`open`, `req.final`) stands in the consumer's log: it was recorded there before it
 *   was sent.
 * - An answer below 400 that the consumer took stands in the provider's log: it was recorded there before its end was
 *   released. An answer of 400 and more may be a refusal, which the provider records as `deny` or `abort`, or (nobody
 *   identified, overload) not at all.
 * - An answer that the provider sent may not have reached the consumer. That is "one-sided": it happened, and is no
 *   contradiction.
 */
function judge(exchange: Exchange, step: Step, coverage: Coverage): void {
  const findings = [...repeated(exchange), ...contradictions(exchange)];
  const missing = [...missingAtProvider(exchange, coverage), ...missingAtConsumer(exchange, coverage)];
  for (const { kind, index, detail } of [
    ...findings,
    ...missing.filter((found) => found.kind !== 'not covered'),
  ]) {
    const severity = kind === 'one-sided' || kind === 'unfinished' ? 'note' : 'fail';
    step.find(severity, kind, detail, { index: String(index), exchange: exchange.x });
  }
  for (const { kind, index, detail } of unfinished(exchange)) {
    step.find('note', kind, detail, { index: String(index), exchange: exchange.x });
  }
  if (missing.some(({ kind }) => kind === 'not covered')) step.notCheckable += 1;
  else if (findings.length === 0) step.checked += 1;
}

interface Judged {
  readonly kind: 'repeated' | 'contradiction' | 'missing' | 'one-sided' | 'not covered' | 'unfinished';
  readonly index: bigint;
  readonly detail: string;
}

function* repeated({ c, p }: Exchange): Generator<Judged> {
  for (const half of [c, p]) {
    for (const k of MESSAGES) {
      const [first, second] = all(half, k);
      if (first !== undefined && second !== undefined) {
        yield {
          kind: 'repeated',
          index: second.index,
          detail: `${k} stands at record ${first.index} already`,
        };
      }
    }
  }
}

function* contradictions({ c, p }: Exchange): Generator<Judged> {
  for (const k of MESSAGES) {
    const [ours] = all(c, k);
    const [theirs] = all(p, k);
    if (ours === undefined || theirs === undefined) continue;
    for (const name of COMPARED) {
      const [a, b] = [ours.record[name], theirs.record[name]];
      if (a === undefined || b === undefined || a === b) continue;
      const detail = `${k} ${name}: consumer ${String(a)} (record ${ours.index}), provider ${String(b)} (record ${theirs.index})`;
      yield { kind: 'contradiction', index: ours.index, detail };
    }
  }
}

function* missingAtProvider({ c, p, provider }: Exchange, coverage: Coverage): Generator<Judged> {
  const [answer] = all(c, 'res.final');
  if (answer === undefined || all(p, 'res.final').length > 0) return;
  const { index, record } = answer;
  if (isBeyond(provider, record.at, coverage)) {
    yield { kind: 'not covered', index, detail: '' };
    return;
  }
  const refused = (record.status ?? 200) >= 400;
  if (refused && p.some(({ record: { k } }) => !UNDER_WAY.has(k))) return;
  yield refused
    ? {
        kind: 'one-sided',
        index,
        detail: `answer ${record.status} of ${provider} is not in its log: a refusal before the exchange began`,
      }
    : { kind: 'missing', index, detail: `the consumer has an answer that ${provider} has not recorded` };
}

function* missingAtConsumer({ c, p, consumer }: Exchange, coverage: Coverage): Generator<Judged> {
  const taken = p.find(({ record: { k } }) => k === 'open' || k === 'req.final' || k === 'res.final');
  if (taken === undefined) return;
  const { index, record } = taken;
  const begun = c.some(({ record: { k } }) => k === 'open' || k === 'req.final');
  if (!begun) {
    yield isBeyond(consumer, record.at, coverage)
      ? { kind: 'not covered', index, detail: '' }
      : { kind: 'missing', index, detail: `the provider has a request that ${consumer} has not recorded` };
    return;
  }
  const [answer] = all(p, 'res.final');
  if (answer === undefined || all(c, 'res.final').length > 0) return;
  const end = c.find(({ record: { k } }) => k === 'abort' || k === 'deny' || k === 'sig.bad');
  const how = end === undefined ? 'has no end of it' : `ended it with ${end.record.out}`;
  yield {
    kind: 'one-sided',
    index: answer.index,
    detail: `the provider sent an answer; the consumer ${how}`,
  };
}

function* unfinished({ c, p }: Exchange): Generator<Judged> {
  for (const half of [c, p]) {
    const begun = half.find(({ record: { k } }) => k === 'open' || k === 'req.final');
    const ended = half.some(({ record: { k } }) => !UNDER_WAY.has(k) && k !== 'replay.seen');
    if (begun !== undefined && !ended)
      yield { kind: 'unfinished', index: begun.index, detail: 'begun, and no end' };
  }
}

const all = (half: readonly Entry[], k: ExchangeRecord['k']): Entry[] =>
  half.filter(({ record }) => record.k === k);

/** True when nothing follows from the gateway's silence: its log was not given, or what was given of it ends before. */
function isBeyond(gateway: string | undefined, at: EpochMs, coverage: Coverage): boolean {
  const lastAt = gateway === undefined ? undefined : coverage.lastAt(gateway);
  return lastAt === undefined || at > lastAt;
}
