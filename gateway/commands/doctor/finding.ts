import { ConfigError } from '../../core/errors.ts';
import { inWordsWithPlace } from '../../core/file-errors.ts';

/** One line of the report. `advice` says what to do about it. */
export interface Finding {
  readonly level: 'ok' | 'warn' | 'bad';
  /** What was looked at: `link certificate`, `port 8080`. */
  readonly subject: string;
  readonly what: string;
  readonly advice?: string;
}

/** Collects findings; what a check throws is a finding, too, so that one broken file does not hide the others. */
export class Report {
  readonly findings: Finding[] = [];

  ok(subject: string, what: string): void {
    this.findings.push({ level: 'ok', subject, what });
  }

  warn(subject: string, what: string, advice: string): void {
    this.findings.push({ level: 'warn', subject, what, advice });
  }

  bad(subject: string, what: string, advice: string): void {
    this.findings.push({ level: 'bad', subject, what, advice });
  }

  async check(subject: string, advice: string, look: () => void | Promise<void>): Promise<void> {
    try {
      await look();
    } catch (thrown) {
      const problems = thrown instanceof ConfigError ? thrown.problems : [inWordsWithPlace(thrown)];
      for (const problem of problems) this.bad(subject, problem, advice);
    }
  }
}
