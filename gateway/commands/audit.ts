import type { Command } from 'commander';
import type { Trust } from '../audit/trust-file.ts';
import { readInput } from './input.ts';

/** Exit status: 0 good, 1 bad or not found; 2 (usage, trust file) is the command line's. */
const exitOf = (result: string): number => (result === 'good' ? 0 : 1);

interface VerifyFlags {
  readonly trust: string;
  readonly json?: true;
  readonly deep: boolean;
}

interface ShowFlags {
  readonly log: readonly string[];
  readonly trust: string;
  readonly json?: true;
}

/** `troad audit verify` and `troad audit show`: offline, with nothing but the logs' folders and a trust file. */
export function registerAudit(program: Command): void {
  const audit = program.command('audit').description('check signed logs offline');
  audit
    .command('verify')
    .description('check logs, and what two logs say of one exchange  稽核日誌')
    .argument('<log...>', 'folders of logs (keys need not be there)')
    .requiredOption('--trust <file>', 'JSON: whose log and message keys are whose')
    .option('--no-deep', 'leave out message signatures and sealed parts')
    .option('--json', 'the whole report for programs')
    .action(async (logs: readonly string[], { trust, json, deep }: VerifyFlags) => {
      const [{ auditLogs }, { renderAudit }, storage] = await Promise.all([
        import('../audit/verify.ts'),
        import('../audit/report.ts'),
        diskStorage(),
      ]);
      const report = await auditLogs({ storage, logs, trust: await readTrust(trust), deep });
      print(report, json, renderAudit);
      process.exitCode = exitOf(report.result);
    });
  audit
    .command('show')
    .description('tell one exchange from the logs, each statement checked  查詢單筆交換')
    .argument('<id>', 'X-Road-Id, or X-Road-Request-Id')
    .requiredOption('--log <dir...>', 'folder of a log; give both gateways’ to have them compared')
    .requiredOption('--trust <file>', 'JSON: whose log and message keys are whose')
    .option('--json', 'the whole report for programs')
    .action(async (id: string, { log, trust, json }: ShowFlags) => {
      const [{ showExchange }, { renderShow }, { setTimeout: wait }, storage] = await Promise.all([
        import('../audit/show.ts'),
        import('../audit/render-show.ts'),
        import('node:timers/promises'),
        diskStorage(),
      ]);
      const report = await showExchange({ storage, logs: log, trust: await readTrust(trust), id, wait });
      print(report, json, renderShow);
      process.exitCode = exitOf(report.result);
    });
}

async function diskStorage() {
  const { nodeStorage } = await import('../evidence/node-storage.ts');
  return nodeStorage();
}

/** @throws ConfigError */
async function readTrust(path: string): Promise<Trust> {
  const { parseTrustFile } = await import('../audit/trust-file.ts');
  return readInput('--trust', path, (text) => parseTrustFile(text.toString('utf8')));
}

function print<T>(report: T, json: true | undefined, render: (report: T) => string): void {
  process.stdout.write(json === true ? `${JSON.stringify(report, null, 2)}\n` : render(report));
}
