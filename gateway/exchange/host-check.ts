import type { LinkSession } from '../link/link.ts';
import type { Dossier } from './dossier.ts';
import type { Gateway } from './gateway.ts';
import type { Lease } from './grant-watch.ts';
import { levelsOf } from './peer-nodes.ts';

/**
 * The session is chosen after the decision: before a byte goes out on it, its host has to be as good as the agreement
 * demands, and as the one that the policy was shown. The record tells which one it was.
 * @returns asks that of a session. @throws Denied `device.node_required`, `device.node_insufficient`
 */
export const hostCheck =
  (
    { endpoint, node, demand }: Pick<Lease, 'endpoint' | 'node' | 'demand'>,
    { devices: { nodes } }: Gateway,
    dossier: Dossier,
  ) =>
  (session: LinkSession): void => {
    const demanded = demand === 'none' ? undefined : demand.node;
    let host = demanded === undefined ? nodes.of(session) : nodes.require(session, demanded);
    // Nearly always it is the very one.
    if (node !== undefined && host !== node) host = nodes.require(session, levelsOf(node));
    if (host?.resultId !== node?.resultId) dossier.devices(endpoint, host);
  };
