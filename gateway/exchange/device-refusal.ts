import { Denied } from '../core/errors.ts';
import type { RefusalCode } from '../core/refusals.ts';
import type { PolicyDenied } from '../trust/grant.ts';
import { challenged } from './devices.ts';

/** What each reason about a machine is answered with; what is wrong with the user's machine is told before the peer's. */
const CODES: readonly (readonly [reason: string, code: RefusalCode])[] = [
  ['admission.device_required', 'device.required'],
  ['admission.device_expired', 'device.expired'],
  ['admission.device_unbound', 'device.binding'],
  ['admission.device_too_weak', 'device.insufficient'],
  ['admission.device_unhealthy', 'device.insufficient'],
  ['admission.node_required', 'device.node_required'],
  ['admission.node_expired', 'device.node_required'],
  ['admission.node_unbound', 'device.node_insufficient'],
  ['admission.node_too_weak', 'device.node_insufficient'],
  ['admission.node_unhealthy', 'device.node_insufficient'],
];
const KNOWN: ReadonlySet<string> = new Set(CODES.map(([reason]) => reason));

/**
 * The refusal for a denial whose only reasons lie in machines. Undefined when anything else stands in the way: then no
 * other machine would help.
 */
export function deviceRefusalFor(denied: PolicyDenied, gateway: string): Denied | undefined {
  const { reasons } = denied.decision;
  if (!reasons.every((reason) => KNOWN.has(reason))) return undefined;
  const [, code] = CODES.find(([reason]) => reasons.includes(reason)) ?? [];
  if (code === undefined) return undefined;
  const refusal = new Denied(code, reasons.join(' '), { cause: denied });
  return challenged(refusal, gateway);
}
