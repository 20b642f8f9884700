/** Who has to change something. With "the provider answered with an error" (no row: we only pass it on), T-Road's four classes. */
export type Fault = 'requester' | 'provider' | 'gateway';

/**
 * How a refusal is logged. `record`: a signed deny record. `abort`: a signed terminal record of an exchange that had
 * begun. `event`: a rate-limited security event with the peer's address, before anyone was identified, so that noise
 * cannot fill the signed log.
 */
export type LogMark = 'record' | 'abort' | 'event';

export interface RefusalRow {
  readonly status: number;
  readonly fault: Fault;
  readonly mark: LogMark;
  /** X-Road error type as printed in its specification (up to 7.7); 7.8 spells the same in snake_case. */
  readonly xroad: string;
  /** What the requester reads, and what to do. English and Traditional Chinese. No attacker-controlled text. */
  readonly en: string;
  readonly zh: string;
}

/** X-Road's type of whatever the client could have known. */
export const CLIENT = 'Client.BadRequest';

/** Rows of one area, by code. */
export type Rows = Record<`${string}.${string}`, RefusalRow>;
