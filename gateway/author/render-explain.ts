import { quoted } from '../core/errors.ts';
import type { Change } from './changes.ts';
import type { ExplainReport } from './explain.ts';
import { wordText } from './render-replay.ts';

const shown = (value: unknown): string => quoted(JSON.stringify(value), 160);

const changeText = ({ pointer, from, to }: Change): string =>
  `${quoted(pointer, 120)}: ${shown(from)} → ${shown(to)}`;

/** The outcome alone. */
export function renderOutcome({ policy, outcome, reasons }: ExplainReport): string {
  const { tier, score, threshold, obligations } = outcome.result ?? {};
  const lines = [`${wordText(outcome.word)}   policy ${policy}`];
  if (outcome.trouble !== undefined) lines.push(`  ! ${quoted(outcome.trouble, 400)}`);
  if (score !== undefined) lines.push(`  score ${score} of ${threshold}, tier ${tier}`);
  if (obligations !== undefined && Object.keys(obligations).length > 0)
    lines.push(`  obligations 義務  ${shown(obligations)}`);
  for (const { code, texts } of reasons)
    lines.push(`  ${code}`, `      ${texts?.en ?? ''}`, `      ${texts?.zh ?? ''}`);
  return `${lines.join('\n')}\n`;
}

/** Why, and what would have changed it. */
export function renderExplain(report: ExplainReport): string {
  const { flips, lifts, rules, shares, outcome } = report;
  const lines: string[] = [];
  if (shares !== undefined) {
    lines.push('What the score is made of: level, weight, points  分數的組成：等級、權重、得分');
    for (const { factor, level, weight } of shares)
      lines.push(
        `  ${factor.padEnd(12)} ${level} × ${String(weight).padStart(2)} = ${String(level * weight).padStart(2)}`,
      );
    lines.push(`  ${'together'.padEnd(12)}          ${String(outcome.result?.score).padStart(2)}`, '');
  }
  if (rules === undefined)
    lines.push(
      'Rules: neither the sources of this bundle nor opa are at hand (--sources).  無原始碼可供說明規則',
    );
  else {
    lines.push('Rules that fired, and what they read  生效規則與所用輸入');
    for (const { rule, file, line, inputs } of rules) {
      lines.push(`  ${file}:${line}  ${rule}`);
      for (const { path, value } of inputs) lines.push(`      ${path} = ${shown(value)}`);
    }
  }
  lines.push('', 'Smallest single changes that would flip it  足以改變結果的最小單一變更');
  lines.push(...flips.map((change) => `  ${changeText(change)}`));
  if (flips.length === 0) lines.push('  none: no change of one field alone does  無單一變更可改變結果');
  for (const lift of lifts) lines.push(`  takes ${lift.reason} away: ${changeText(lift)}`);
  return `${renderOutcome(report)}\n${lines.join('\n')}\n`;
}
