import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { ConfigError, describe } from '../../core/errors.ts';
import type { StoreState } from '../../node/policy-store.ts';
import type { GatewayConfig } from '../../config/config.ts';

interface StatusFlags {
  readonly config: string;
  readonly json?: true;
}

interface ShadowCount {
  readonly bundle: string;
  readonly outcome: string;
  readonly reason: string;
  readonly count: number;
}

const PATIENCE_MS = 5_000;

/** `troad policy status`: what is in force, what was, what is kept out, and what the shadows say. */
export function registerStatus(policy: Command): void {
  policy
    .command('status')
    .description('which bundles are in force, in quarantine, in the shadow  政策狀態')
    .requiredOption('--config <file>', "the gateway's configuration")
    .option('--json', 'the whole report for programs')
    .action(async ({ config: file, json }: StatusFlags) => {
      const [{ loadConfig }, { readState }] = await Promise.all([
        import('../../config/load.ts'),
        import('../../node/policy-store.ts'),
      ]);
      const config = loadConfig(file);
      const state = readState(config.policy.store);
      if (state === undefined)
        throw new ConfigError([`${config.policy.store}: no gateway has run with this store yet`]);
      const shadows = await shadowCounts(config);
      const report = { store: config.policy.store, ...state, shadows };
      process.stdout.write(json === true ? `${JSON.stringify(report, null, 2)}\n` : render(report));
    });
}

interface Report extends StoreState {
  readonly store: string;
  readonly shadows: readonly ShadowCount[] | string;
}

function render({ store, active, version, history, quarantined, shadow, outcome, shadows }: Report): string {
  const time = (at: number): string => new Date(at).toISOString();
  const lines = [
    `store               ${store}`,
    `in force   使用中    ${active ?? 'none'}`,
    `version    版本      ${version} (older ones are refused)`,
    ...history.toReversed().map((digest) => `before     先前      ${digest}`),
    ...quarantined.map(({ bundle, at, why }) => `quarantine 隔離      ${bundle} since ${time(at)}: ${why}`),
    ...shadow.map((digest) => `shadow     影子      ${digest}`),
    ...(outcome === null
      ? []
      : [`last request        ${time(outcome.at)}: ${outcome.code ?? 'done'} ${outcome.detail}`.trimEnd()]),
  ];
  if (typeof shadows === 'string') lines.push(`shadow counts: ${shadows}`);
  else if (shadows.length > 0) {
    lines.push('', 'Decisions of shadows beside the policy in force, since the start  影子政策的決定:');
    for (const { bundle, outcome: what, reason, count } of shadows)
      lines.push(`  ${bundle}  ${what.padEnd(8)} ${String(count).padStart(9)}  ${reason}`.trimEnd());
  }
  return `${lines.join('\n')}\n`;
}

/** @returns a text when the gateway cannot be asked */
async function shadowCounts({ admin }: GatewayConfig): Promise<readonly ShadowCount[] | string> {
  const { host, port, tokenFile } = admin;
  const address = host.includes(':') ? `[${host}]` : host;
  try {
    const response = await fetch(`http://${address}:${port}/metrics`, {
      headers:
        tokenFile === undefined ? {} : { authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}` },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (!response.ok) return `the admin listener answered ${response.status}`;
    const page = await response.text();
    return [
      ...page.matchAll(
        /^troad_policy_shadow_total\{bundle="([^"]*)",outcome="([^"]*)",reason="([^"]*)"\} (\d+)$/gm,
      ),
    ].map(([, bundle = '', outcome = '', reason = '', count = '']) => ({
      bundle,
      outcome,
      reason,
      count: Number(count),
    }));
  } catch (thrown) {
    return `the gateway does not answer (${describe(thrown)})`;
  }
}
