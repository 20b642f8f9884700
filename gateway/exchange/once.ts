import type { ExchangeId } from '../core/ids.ts';
import type { OnceId } from '../message/single-use.ts';
import type { Gateway } from './gateway.ts';
import { challenged, type PresentedUser } from './users.ts';

/** What one exchange uses up at one end. */
export interface UsedUp {
  /** A gateway may be both ends of an exchange: each uses an id once. */
  readonly role: 'c' | 'p';
  readonly user: PresentedUser | undefined;
  /** A message of a peer; the ids of our own are fresh. */
  readonly message?: { readonly from: string; readonly id: ExchangeId };
}

/**
 * Where a gateway has replicas: what was used at one of them is used at all. Asked last, when nothing else refuses, so
 * that only what would be carried costs a round trip.
 * @throws Denied, Unavailable `gateway.replicas`
 */
export async function takeEverywhere(
  { replicas, users }: Pick<Gateway, 'replicas' | 'users'>,
  { role, user, message }: UsedUp,
): Promise<void> {
  if (replicas === undefined) return;
  const { assertion, proof } = user?.assertion.used ?? {};
  const ids: OnceId[] = [];
  if (message !== undefined) ids.push({ kind: 'message', id: `${message.from} ${message.id}` });
  if (assertion !== undefined) ids.push({ kind: 'assertion', id: `${role} ${assertion}` });
  if (proof !== undefined) ids.push({ kind: 'proof', id: `${role} ${proof}` });
  try {
    await replicas.claim(ids);
  } catch (thrown) {
    throw challenged(thrown, role === 'c' ? users.nonces : undefined);
  }
}
