import { quoted } from '../core/errors.ts';

/** `absent`: what would be checked is not there, and need not be. `not checkable`: it is there and cannot be judged. */
export type Status = 'pass' | 'fail' | 'absent' | 'not checkable';

export interface Finding {
  readonly severity: 'fail' | 'note';
  /** Stable word for programs: `damaged`, `contradiction`, `one-sided`, … */
  readonly kind: string;
  /** Index of the record it is about. */
  readonly index?: string;
  readonly exchange?: string;
  readonly detail: string;
}

export interface StepReport {
  readonly name: string;
  readonly status: Status;
  /** How many things were checked and found good. */
  readonly checked: number;
  /** How many could not be checked. */
  readonly notCheckable: number;
  /** Why, as far as there is more to say. */
  readonly left: readonly { readonly why: string; readonly count: number }[];
  readonly findings: readonly Finding[];
  /** Findings beyond those listed. */
  readonly more: number;
}

const MAX_FINDINGS = 100;

/** One step of an audit while it runs. */
export class Step {
  readonly name: string;
  checked = 0;
  notCheckable = 0;
  readonly #left = new Map<string, number>();
  #findings: Finding[] = [];
  #more = 0;
  #failed = false;

  constructor(name: string) {
    this.name = name;
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** Leaves a thing unchecked. @param why in our own words: it is told as it is */
  leave(why?: string): void {
    this.notCheckable += 1;
    if (why !== undefined) this.#left.set(why, (this.#left.get(why) ?? 0) + 1);
  }

  /** Text of others is quoted here: details go to a terminal. */
  find(
    severity: Finding['severity'],
    kind: string,
    detail: string,
    at: Pick<Finding, 'index' | 'exchange'> = {},
  ): void {
    if (severity === 'fail') this.#failed = true;
    const finding = { severity, kind, ...at, detail: quoted(detail, 400) };
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push(finding);
    else this.#more += 1;
  }

  report(): StepReport {
    const { name, checked, notCheckable } = this;
    const unknown: Status = notCheckable > 0 ? 'not checkable' : 'absent';
    const status: Status = this.#failed ? 'fail' : checked > 0 ? 'pass' : unknown;
    const left = Array.from(this.#left, ([why, count]) => ({ why, count }));
    return { name, status, checked, notCheckable, left, findings: this.#findings, more: this.#more };
  }
}

export interface LogReport {
  readonly path: string;
  readonly origin: string | undefined;
  readonly gateway: string | undefined;
  readonly member: string | undefined;
  /** Records that hash to a signed head. */
  readonly size: string;
  readonly root: string;
  readonly steps: readonly StepReport[];
}

export interface AuditReport {
  readonly result: 'good' | 'bad';
  readonly logs: readonly LogReport[];
  /** Steps over all logs together. */
  readonly steps: readonly StepReport[];
}

/** All findings of a report, of one severity. */
export const findingsOf = (report: AuditReport, severity: Finding['severity'] = 'fail'): Finding[] =>
  [...report.steps, ...report.logs.flatMap(({ steps }) => steps)]
    .flatMap((step) => step.findings)
    .filter((finding) => finding.severity === severity);

const MARK: Record<Status, string> = { pass: 'pass', fail: 'FAIL', absent: '–', 'not checkable': 'n/c' };

/** The report for people. */
export function renderAudit(report: AuditReport): string {
  const lines: string[] = [];
  for (const log of report.logs) {
    lines.push(`${quoted(log.origin ?? 'unknown log', 200)}  (${log.path})`);
    lines.push(
      `  ${log.gateway ?? 'unknown gateway'}  ${log.member ?? ''}  ${log.size} records, root ${log.root}`,
    );
    lines.push(...renderSteps(log.steps), '');
  }
  if (report.steps.length > 0) lines.push('All logs together', ...renderSteps(report.steps), '');
  lines.push(
    report.result === 'good'
      ? 'GOOD: nothing contradicts the signed logs.  稽核結果：相符'
      : 'BAD: see the lines marked FAIL.  稽核結果：不符',
  );
  return `${lines.join('\n')}\n`;
}

export function renderSteps(steps: readonly StepReport[]): string[] {
  const lines: string[] = [];
  for (const { name, status, checked, notCheckable, left, findings, more } of steps) {
    const counts = [`${checked} checked`, ...(notCheckable > 0 ? [`${notCheckable} not checkable`] : [])];
    lines.push(`  ${MARK[status].padEnd(5)} ${name} (${counts.join(', ')})`);
    for (const { why, count } of left) lines.push(`        · ${count} not checkable: ${why}`);
    for (const { severity, kind, index, exchange, detail } of findings) {
      const where = [
        ...(index === undefined ? [] : [`record ${index}`]),
        ...(exchange === undefined ? [] : [exchange]),
      ];
      lines.push(
        `        ${severity === 'fail' ? '!' : '·'} ${kind}${where.length > 0 ? ` [${where.join(', ')}]` : ''}: ${detail}`,
      );
    }
    if (more > 0) lines.push(`        … and ${more} more`);
  }
  return lines;
}
