import type { Tier } from './tier.ts';

/**
 * How the connection hangs on the TPM. `tpm`: the TLS key is in it; `bound`: a key in it signed this connection;
 * `software`: the result names the certificate, no more.
 */
export const RESIDENCIES = ['software', 'bound', 'tpm'] as const;
export type KeyResidency = (typeof RESIDENCIES)[number];

/** The least that is asked of one machine. */
export interface DeviceMinimum {
  readonly tpm: Tier;
  readonly health: Tier;
  readonly residency: KeyResidency;
}

/** What an agreement asks of machines; at least one of the two. */
export interface DeviceDemand {
  /** Of the machine that the user or client system sits on. */
  readonly endpoint?: DeviceMinimum;
  /** Of the host of each gateway, by the other one. */
  readonly node?: DeviceMinimum;
}
