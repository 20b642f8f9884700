import type { CoreRecord } from '../../gateway/evidence/record.ts';
import type { ConformanceCase, Expectation } from './cases.ts';
import type { Observation, Side } from './observation.ts';
import type { RawResponse } from './responses.ts';

/** What the attacker got to see. */
export interface Outcome {
  /** Final answers, in order. */
  readonly answers: readonly RawResponse[];
  /** True when the gateway ended the connection (or the stream, with an error) by itself. */
  readonly closed: boolean;
}

/** What the answers say that is wrong, one line each; empty when the expectation is met. */
export function problemsOfAnswers(expect: Expectation, { answers, closed }: Outcome): readonly string[] {
  const problems: string[] = [];
  const last = answers.at(-1);
  const status = last === undefined || !last.complete ? 'none' : last.status;
  const wanted = listed(expect.status);
  if (wanted.length > 0 && !wanted.includes(status))
    problems.push(`status ${status}, expected ${wanted.join(' or ')}`);
  if (expect.answers !== undefined && answers.length !== expect.answers) {
    problems.push(`${answers.length} answers, expected ${expect.answers}`);
  }
  if (expect.closed !== undefined && closed !== expect.closed) {
    problems.push(expect.closed ? 'the connection was left open' : 'the connection was closed');
  }
  const codes = listed(expect.code);
  const told = last === undefined ? undefined : codeIn(last);
  if (codes.length > 0 && told !== undefined && !codes.some((code) => code === told)) {
    problems.push(`answered ${told}, expected ${codes.join(' or ')}`);
  }
  const content = last?.body.toString('latin1') ?? '';
  for (const text of expect.has ?? []) if (!content.includes(text)) problems.push(`the answer lacks ${text}`);
  for (const text of expect.hasNot ?? []) if (content.includes(text)) problems.push(`the answer has ${text}`);
  return problems;
}

/** What the observations say that is wrong. `control` is the X-Road-Id of the good request that followed. */
export function problemsOfTraces(
  { target, id }: ConformanceCase,
  expect: Expectation,
  before: Observation,
  after: Observation,
  control: string,
): readonly string[] {
  const side: Side = target === 'consumer' ? 'consumer' : 'provider';
  const problems: string[] = [];
  const reached = after.seen - before.seen - 1; // without the good request
  if (expect.service === 'nothing' && reached > 0) problems.push('the service saw it');
  if (expect.service === 'request' && reached < 1) problems.push('the service did not see it');

  const codes = listed(expect.code);
  const counted = codes.filter(
    (code) => (after.refusals[side].get(code) ?? 0) > (before.refusals[side].get(code) ?? 0),
  );
  if (codes.length > 0 && counted.length === 0)
    problems.push(`no counter of ${codes.join(' or ')} has grown`);

  const isNew = ({ k }: CoreRecord): boolean => k !== 'peer.cp';
  const fresh = after.records[side].slice(before.records[side].length).filter(isNew);
  const own = fresh.filter((record) => !('xid' in record) || record.xid !== control);
  const refusals = own.filter((record) => 'out' in record && record.out !== 'ok');
  const kinds = refusals.map(({ k }) => k);
  switch (expect.log) {
    case 'event':
    case 'none':
      if (own.length > 0) problems.push(`the signed log grew by ${own.map(({ k }) => k).join(', ')}`);
      break;
    case 'abort':
    case 'cut':
    case 'record':
      if (kinds.length === 0) problems.push('no record of it in the signed log');
      else if (expect.log !== 'cut' && (expect.log === 'abort') !== kinds.includes('abort'))
        problems.push(`recorded as ${kinds.join(', ')}`);
      if (
        codes.length > 0 &&
        !refusals.some((record) => 'out' in record && codes.some((code) => code === record.out))
      ) {
        problems.push(`the record does not say ${codes.join(' or ')}`);
      }
      break;
    case undefined:
  }
  if (expect.log === 'none') {
    for (const [code, count] of after.refusals[side]) {
      if (count > (before.refusals[side].get(code) ?? 0)) problems.push(`${id}: ${code} was counted`);
    }
  }
  return problems;
}

/** Our own code, where the answer is one of RFC 9457. */
function codeIn({ body, fields }: RawResponse): string | undefined {
  const type = fields.find(([name]) => name.toLowerCase() === 'content-type')?.[1];
  if (type !== 'application/problem+json') return undefined;
  const { code } = JSON.parse(body.toString('utf8')) as { code?: unknown }; // compared with a string, whatever it is
  return String(code);
}

function listed<T>(value: T | readonly T[] | undefined): readonly T[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? (value as readonly T[]) : [value as T]; // T is never an array here
}
