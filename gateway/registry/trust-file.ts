import type { EpochMs } from '../core/clock.ts';
import type { LogRow, MessageAlgorithm } from './document.ts';
import type { Registry } from './registry.ts';

/** What an auditor needs to check the logs of an instance, and nothing about agreements or addresses. */
export interface TrustFile {
  readonly instance: string;
  readonly gateways: readonly {
    readonly name: string;
    readonly member: string;
    readonly logs: readonly LogRow[];
    readonly messageKeys: readonly {
      readonly kid: string;
      readonly alg: MessageAlgorithm;
      readonly spki: string;
      readonly notBefore: EpochMs;
      readonly notAfter: EpochMs;
    }[];
    readonly link: readonly { readonly spki: string }[];
    /** Who may release its policies. The registry does not say: each agency does. */
    readonly policy?: readonly ReleasersRow[];
  }[];
}

export interface ReleasersRow {
  /** Ed25519 keys, SPKI in DER, base64. */
  readonly signers: readonly string[];
  readonly threshold: number;
  readonly notBefore: EpochMs;
  readonly notAfter: EpochMs;
}

/**
 * Revoked keys stay in: what they signed before is still to be checked, and the log's order says what was before.
 *
 * @param policy who released what ran in all of these gateways; none: not known
 */
export function trustFileOf({ document }: Registry, policy: readonly ReleasersRow[]): TrustFile {
  return {
    instance: document.instance,
    gateways: document.gateways.map(({ name, member, logs, messageKeys, link }) => ({
      name,
      member,
      logs,
      messageKeys: messageKeys.map(({ kid, alg, spki, notBefore, notAfter }) => ({
        kid,
        alg,
        spki,
        notBefore,
        notAfter,
      })),
      link,
      ...(policy.length === 0 ? {} : { policy }),
    })),
  };
}
