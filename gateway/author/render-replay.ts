import { quoted } from '../core/errors.ts';
import type { FlipExample, FlipGroup } from './flips.ts';
import { OUTCOME_ZH, type OutcomeWord } from './outcome.ts';
import type { ReplayReport } from './replay.ts';

const VERDICT: Readonly<Record<ReplayReport['result'], string>> = {
  identical: 'IDENTICAL: every decision came out the same again.  重播結果：完全一致',
  differs: 'DIFFERS: not every decision came out the same.  重播結果：有差異',
  incomplete: 'INCOMPLETE: not every decision could be made again.  重播結果：不完整',
};

/** A replay for people. */
export function renderReplay(report: ReplayReport): string {
  const { decisions, replayed, sealed, missing, findings, moreFindings, policy } = report;
  const lines = [
    policy === undefined
      ? 'Each decision under the bundle that made it  以原政策包重播'
      : `All decisions under the bundle ${policy}  以新政策包重播`,
    `  ${decisions} decisions recorded, ${replayed} made again, ${report.flipped} flipped`,
  ];
  if (sealed > 0)
    lines.push(`  ${sealed} not replayable: the key of the sealed input is not here  輸入已封存`);
  for (const { digest, count, why } of missing)
    lines.push(`  ! bundle ${digest} of ${count} decisions was not found: ${quoted(why, 400)}  找不到政策包`);
  for (const { kind, log, index, exchange, detail } of findings) {
    const where = exchange === undefined ? '' : `, exchange ${exchange}`;
    lines.push(`  ! ${kind} [record ${index} of ${quoted(log, 200)}${where}]: ${detail}`);
  }
  if (moreFindings > 0) lines.push(`  … and ${moreFindings} more`);
  lines.push(...renderFlips(report.flips, renderExample), '', VERDICT[report.result]);
  return `${lines.join('\n')}\n`;
}

/** Groups of flips, most frequent first. */
export function renderFlips<Example>(
  groups: readonly FlipGroup<Example>[],
  render: (example: Example) => string,
): string[] {
  return groups.flatMap(({ from, to, reasonsBefore, reasonsAfter, count, examples }) => [
    '',
    `  ${count} × ${wordText(from)} → ${wordText(to)}`,
    `      before: ${reasonText(reasonsBefore)}`,
    `      after:  ${reasonText(reasonsAfter)}`,
    ...examples.map((example) => `      e.g. ${render(example)}`),
  ]);
}

export const wordText = (word: OutcomeWord): string => `${word} ${OUTCOME_ZH[word]}`;

const reasonText = (reasons: readonly string[]): string => quoted(reasons.join(' '), 400) || '(no reason)';

function renderExample({ exchange, index, at, client, service, method }: FlipExample): string {
  const known = [method, client, service].map((text) => quoted(text ?? '?', 120));
  return `${at} ${exchange} record ${index}: ${known.join(' ')}`;
}
