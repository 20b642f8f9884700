import { PeerGateway, type PeerDirectory } from '../identity/peer.ts';
import type { LinkSession } from '../link/link.ts';
import type { Gateway } from './gateway.ts';

const peers = new WeakMap<LinkSession, PeerGateway>();

/** Who the session's certificate is, read once; whether that is still so, asked every time. */
export function peerOf(session: LinkSession, gateway: Pick<Gateway, 'directory' | 'clock'>): PeerGateway {
  const { directory } = gateway;
  const now = gateway.clock.now();
  const known = peers.get(session);
  if (known !== undefined) {
    known.requireCurrent(directory, now);
    return known;
  }
  const peer = PeerGateway.identify(session.peerCertificate, 'client', directory, now);
  peers.set(session, peer);
  return peer;
}

/** The registry's gateways, with those set apart that contradicted themselves. */
export function directoryOf(gateway: Pick<Gateway, 'registry' | 'quarantine'>): PeerDirectory {
  return {
    gatewayByName: (name) => {
      const known = gateway.registry().gateway(name);
      return known !== undefined && gateway.quarantine.has(name) ? { ...known, quarantined: true } : known;
    },
  };
}
