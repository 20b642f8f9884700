import { quoted } from '../core/errors.ts';
import type { DeviceFacts, PolicyFacts, TlsFacts, UserFacts } from '../evidence/record.ts';
import { renderExtra } from './extra.ts';
import { timeText, textOf } from './records.ts';
import { renderSteps } from './report.ts';
import type { SharedSignature } from './signatures.ts';
import { outcomeOf, type ShownExchange, type ShowReport } from './show.ts';

/** The story for people: who, what, when, signed by whom, and how that was checked. */
export function renderShow(report: ShowReport): string {
  if (report.result === 'not found') return 'No record of it in these logs.  日誌中查無此筆交換\n';
  const { exchanges, more } = report;
  const left =
    more === 0
      ? ''
      : `${more} more exchanges have that X-Road-Id: ask for one by its x-road-request-id.  另有 ${more} 筆\n\n`;
  return `${exchanges.flatMap(renderExchange).join('\n')}\n${left}${verdictOf(report)}\n`;
}

function verdictOf({ result, exchanges }: ShowReport): string {
  if (result === 'bad') return 'BAD: see the lines marked FAIL.  稽核結果：不符';
  return exchanges.some(({ steps }) => steps.some(({ notCheckable }) => notCheckable > 0))
    ? 'GOOD: nothing contradicts the statements above; what was not checkable is said above.  稽核結果：相符，惟有無法檢查之處'
    : 'GOOD: every statement above was checked.  稽核結果：相符';
}

function renderExchange({ exchange, uuid, xRoadId, request, records, steps }: ShownExchange): string[] {
  const { client, svc, op } = request?.record ?? {};
  const target = request?.target;
  const lines = [
    `Exchange ${exchange}  (${uuid})`,
    ...(xRoadId === undefined ? [] : [`  X-Road-Id  ${text(xRoadId)}`]),
    `  who        ${text(client ?? 'unknown consumer')}`,
    `  asked      ${text(svc ?? 'unknown service')}`,
    `  what       ${text(op ?? '')} ${target === undefined ? '(path sealed or unknown)' : text(target)}`,
    ...(request?.signedBy === undefined
      ? [
          '             so the log says: not proved by a signature of the request  僅日誌所載，未經請求簽章證明',
        ]
      : []),
    '',
  ];
  for (const shown of records) {
    const { record, signedBy, kind } = shown;
    lines.push(
      `  ${shown.at}  ${shown.side} ${text(shown.gateway)} (${text(shown.member ?? 'unknown member')})`,
    );
    lines.push(`    ${kind}: ${outcomeOf(shown)}`);
    if (record.dg !== undefined) lines.push(`    content    ${record.len ?? '?'} bytes, ${text(record.dg)}`);
    if (signedBy !== undefined) {
      lines.push(
        `    signed by  ${signedBy.gateway} (${signedBy.member}), ${signedBy.alg}, key ${text(signedBy.kid, 160)}`,
      );
    }
    if (signedBy?.batch !== undefined) lines.push(`    batch      ${batchOf(signedBy.batch)}`);
    if (record.usr !== undefined) lines.push(`    user       ${text(userOf(record.usr), 400)}`);
    if (record.dev !== undefined) lines.push(`    device     ${text(deviceOf(record.dev), 400)}`);
    if (record.node !== undefined) lines.push(`    peer host  ${text(deviceOf(record.node), 400)}`);
    if (record.tls !== undefined) lines.push(`    link       ${text(linkOf(record.tls), 300)}`);
    if (record.pol !== undefined) lines.push(`    decision   ${text(decisionOf(record.pol), 400)}`);
    if (shown.extra !== undefined)
      lines.push(...renderExtra(shown.extra).map((line) => `    noted      ${line}`));
    lines.push(`    evidence   record ${shown.index} of ${text(shown.log, 160)}`, '');
  }
  lines.push(...renderSteps(steps), '');
  return lines;
}

const batchOf = ({ index, size, root, path }: SharedSignature): string =>
  `message ${index} of ${size} under one signature: ${path.length} hashes lead to root ${root}`;

/** The accepting side of TLS cannot see which key-exchange group was negotiated. */
function linkOf(tls: TlsFacts): string {
  const { v, suite, g, peer } = wordsOf(tls);
  const exchange = g === 'unknown' ? 'seen by the other side only' : g;
  return `${v}, ${suite}, key exchange ${exchange}, peer certificate ${peer}`;
}

function decisionOf(pol: PolicyFacts): string {
  const { allow, agreement, reasons, tier, score, threshold, obligations, b = '', i = '' } = wordsOf(pol);
  const under = agreement === undefined ? 'without an agreement' : `under agreement ${agreement}`;
  const why = reasons === undefined ? '' : ` (${reasons})`;
  const scored = score === undefined ? '' : `, score ${score} of ${threshold} (${tier})`;
  const duty = obligations === undefined ? '' : `, with ${obligations}`;
  return `${allow === 'true' ? 'allowed' : 'denied'} ${under}${why}${scored}${duty}; policy ${b.slice(0, 12)}, input ${i.slice(0, 12)}`;
}

/** A gateway can sign nonsense of any type into its own log; telling it must not stop the auditor. */
const wordsOf = (facts: unknown): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(Object.entries(Object(facts) as object).map(([name, value]) => [name, textOf(value)]));

/** How the user was shown to be who it is. Who that is, is sealed: the part of class `subject` holds the assertion. */
function userOf(usr: UserFacts): string {
  const { iss, ial, aal, fal, acr, at, by } = wordsOf(usr);
  const { amr }: { readonly amr?: unknown } = { ...usr };
  const ways: readonly unknown[] = Array.isArray(amr) ? amr : [amr];
  const when = timeText(Number(at) * 1000);
  const proof = by === 'none' ? 'good once' : `bound by ${by}`;
  return `of ${iss}, IAL${ial} AAL${aal} FAL${fal} (${acr}; ${ways.map(textOf).join(' ')}), signed in ${when}, ${proof}; name sealed`;
}

/** The result itself is sealed: the part of class `device`. */
function deviceOf(device: DeviceFacts): string {
  const { iss, id = '', tpm, health, by, r = '' } = wordsOf(device);
  return `${id.slice(0, 12)} of ${iss}, boot ${tpm}, health ${health}, key ${by}; result ${r.slice(0, 12)}`;
}

/** Texts in records were chosen by others; this goes to a terminal. */
const text = (value: string, maxLength = 120): string => quoted(value, maxLength);
