import { styleText } from 'node:util';
import type { Command } from 'commander';
import type { Finding } from './doctor/finding.ts';

/** `troad doctor`: would this configuration run on this machine, and well? */
export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description('check a configuration and this machine before the gateway is started')
    .requiredOption('--config <file>', 'YAML configuration')
    .option('--json', 'print the findings as JSON')
    .action(async ({ config, json }: { config: string; json?: true }) => {
      const { examine } = await import('./doctor/doctor.ts');
      const { status, findings } = await examine(config);
      process.stdout.write(
        json === true ? `${JSON.stringify({ status, findings }, null, 2)}\n` : formatFindings(findings),
      );
      process.exitCode = status;
    });
}

const COLOURS = { ok: 'green', warn: 'yellow', bad: 'red' } as const;

function formatFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ subject }) => subject.length));
  const lines = findings.map(({ level, subject, what, advice }) => {
    const mark = styleText(COLOURS[level], level.padEnd(4), { stream: process.stdout });
    const todo = advice === undefined ? '' : `\n     ${' '.repeat(width)}  → ${advice}`;
    return `${mark} ${subject.padEnd(width)}  ${what}${todo}\n`;
  });
  const count = (level: Finding['level']): number =>
    findings.filter((finding) => finding.level === level).length;
  return `${lines.join('')}\n${count('ok')} ok, ${count('warn')} to look at, ${count('bad')} bad\n`;
}
