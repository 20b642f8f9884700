import { ASSERTION } from './refusals/assertion.ts';
import { DEVICE } from './refusals/device.ts';
import { GATEWAY } from './refusals/gateway.ts';
import { MESSAGE } from './refusals/message.ts';
import { POLICY } from './refusals/policy.ts';
import { REQUEST } from './refusals/request.ts';
import { SERVICE } from './refusals/service.ts';

export type { Fault, LogMark, RefusalRow } from './refusals/row.ts';

/**
 * Every refusal the gateway can answer or log, in one table; the rows stand by area in `refusals/`. The key is the code:
 * the same string in the answer, the log record, the metric and the conformance case.
 */
export const REFUSALS = {
  ...REQUEST,
  ...ASSERTION,
  ...MESSAGE,
  ...DEVICE,
  ...POLICY,
  ...SERVICE,
  ...GATEWAY,
} as const;

export type RefusalCode = keyof typeof REFUSALS;

export const isRefusalCode = (text: string): text is RefusalCode => Object.hasOwn(REFUSALS, text);

/** X-Road renamed one code beyond its spelling in 7.8. */
const RENAMED = new Map([
  ['Server.ClientProxy.OutdatedGlobalConf', 'server.clientproxy.global_conf_outdated'],
]);

export type XRoadSpelling = 'camel' | 'snake';

/** The X-Road error type of a refusal in the spelling the instance uses: CamelCase up to 7.7, snake_case from 7.8. */
export function xroadType(code: RefusalCode, spelling: XRoadSpelling): string {
  const camel: string = REFUSALS[code].xroad;
  if (spelling === 'camel') return camel;
  const renamed = RENAMED.get(camel);
  if (renamed !== undefined) return renamed;
  const [prefix, ...rest] = camel.split('.');
  return [prefix, ...rest]
    .map((part = '', i, all) =>
      // Prefixes lose their capitals only (`ClientProxy` → `clientproxy`); the code itself is split into words.
      i < all.length - 1 && i < 2
        ? part.toLowerCase()
        : part.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, '_').toLowerCase(),
    )
    .join('.');
}
