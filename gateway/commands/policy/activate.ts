import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { ConfigError } from '../../core/errors.ts';
import type { PolicyOutcome, PolicyRequest } from '../../node/policy-store.ts';
import { BUNDLE_REFUSALS, type BundleRefusalCode } from '../../trust/bundle-refused.ts';
import { exitOf, printReport, refusalText } from './report.ts';

interface ActivateFlags {
  readonly config: string;
  readonly shadow?: true;
  readonly unshadow?: string;
  readonly lift?: string;
  readonly wait: number;
  readonly json?: true;
}

interface Report {
  readonly result: 'good' | 'bad' | 'unanswered';
  readonly action: PolicyRequest['action'];
  /** What the gateway says; null when it has not answered. */
  readonly outcome: PolicyOutcome | null;
  /** What the code of the outcome means. */
  readonly en?: string;
  readonly zh?: string;
}

const ACTIONS = ['shadow', 'unshadow', 'lift'];
const LOOK_MS = 100;

/** `troad policy activate DIR`: asks the gateway, and waits for what it says. */
export function registerActivate(policy: Command): void {
  const other = (flags: string, text: string, name: string): Option =>
    new Option(flags, text).conflicts(ACTIONS.filter((action) => action !== name));
  policy
    .command('activate')
    .description('put a bundle in force in the running gateway  啟用政策包')
    .argument('[bundle]', 'folder of the bundle')
    .requiredOption('--config <file>', "the gateway's configuration")
    .addOption(other('--shadow', 'evaluate it beside the one in force, without effect', 'shadow'))
    .addOption(other('--unshadow <digest>', 'no longer evaluate this one', 'unshadow'))
    .addOption(other('--lift <digest>', 'take this one out of quarantine', 'lift'))
    .option('--wait <seconds>', 'for the answer of the gateway', parseSeconds, 15)
    .option('--json', 'the whole report for programs')
    .action(async (dir: string | undefined, flags: ActivateFlags) => {
      const [{ loadConfig }, { readBundle }, store] = await Promise.all([
        import('../../config/load.ts'),
        import('../../node/bundle-folder.ts'),
        import('../../node/policy-store.ts'),
      ]);
      const request = requestOf(dir, flags);
      const folder = loadConfig(flags.config).policy.store;
      if (store.readState(folder) === undefined)
        throw new ConfigError([
          `${folder}: no gateway has run with this store yet; it begins with policy.bundle`,
        ]);
      requireOwner(folder);
      store.submitRequest(folder, request, dir === undefined ? undefined : readBundle(dir));
      const until = performance.now() + flags.wait * 1000;
      let outcome: PolicyOutcome | null | undefined;
      while (outcome?.id !== request.id && performance.now() < until) {
        await delay(LOOK_MS);
        outcome = store.readState(folder)?.outcome;
      }
      const report = reportOf(request, outcome);
      printReport(report, flags.json, render);
      process.exitCode = exitOf(report.result === 'good');
    });
}

function requestOf(dir: string | undefined, { shadow, unshadow, lift }: ActivateFlags): PolicyRequest {
  const id = randomBytes(12).toString('base64url');
  const digest = unshadow ?? lift;
  if ((dir === undefined) !== (digest !== undefined))
    throw new ConfigError(['name the folder of a bundle, or a digest with --unshadow or --lift']);
  if (digest !== undefined) {
    if (!/^[\w-]{43}$/.test(digest)) throw new ConfigError([`${digest} is no digest of a bundle`]);
    return { id, action: unshadow === undefined ? 'lift' : 'unshadow', bundle: digest };
  }
  return { id, action: shadow === true ? 'shadow' : 'activate', bundle: null };
}

function reportOf({ id, action }: PolicyRequest, outcome: PolicyOutcome | null | undefined): Report {
  if (outcome?.id !== id) return { result: 'unanswered', action, outcome: null };
  const { code } = outcome;
  return {
    result: code === null ? 'good' : 'bad',
    action,
    outcome,
    ...(isBundleCode(code) ? BUNDLE_REFUSALS[code] : {}),
  };
}

const isBundleCode = (code: PolicyOutcome['code']): code is BundleRefusalCode =>
  code !== null && Object.hasOwn(BUNDLE_REFUSALS, code);

/** What another user writes there, the gateway may not read: it would be waited for in vain. @throws ConfigError */
function requireOwner(store: string): void {
  const { uid } = statSync(store);
  const own = process.geteuid?.();
  if (own === undefined || own === uid) return;
  throw new ConfigError([
    `${store}: is of user ${uid}, and this is user ${own}: run this as the gateway's user, sudo -u '#${uid}' troad policy activate …  請以閘道的使用者執行`,
  ]);
}

function render({ action, outcome }: Report): string {
  if (outcome === null)
    return 'The gateway has not answered; it sees to it at its next start.  閘道未回覆，將於下次啟動時處理。\n';
  const { code, detail, pauseMs } = outcome;
  if (code !== null)
    return `refused  拒絕: ${isBundleCode(code) ? refusalText(code, detail.split('\n')) : `${code}\n${detail}\n`}`;
  const pause =
    action === 'activate' ? `; a worker's event loop stood still for ${pauseMs.toFixed(1)} ms` : '';
  return `done  完成: ${action}${pause}\n`;
}

function parseSeconds(text: string): number {
  if (!/^\d{1,4}(?:\.\d{1,3})?$/.test(text))
    throw new InvalidArgumentError('Expected a number from 0 to 9999.');
  return Number(text);
}
