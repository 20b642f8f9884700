import { PeerGateway } from '../identity/peer.ts';
import type { LinkArrival } from '../link/link.ts';
import { directoryOf } from './admit.ts';
import type { Gateway } from './gateway.ts';
import { NODE_PATH } from './greeting.ts';
import { provider } from './provide.ts';
import { CHECKPOINT_PATH, keepCheckpoint } from './witness.ts';

/** What comes over the link: greetings and checkpoints of peers, and messages. */
export function linkDoor(gateway: Gateway): (arrival: LinkArrival) => void {
  const provide = provider(gateway);
  return (arrival) => {
    if (arrival.rawHead.path === NODE_PATH) {
      gateway.devices.greetings.answer(arrival).catch((cause: unknown) => {
        arrival.abort(cause instanceof Error ? cause : new Error(String(cause)));
      });
      return;
    }
    if (arrival.rawHead.path !== CHECKPOINT_PATH) {
      provide(arrival);
      return;
    }
    const showing = async (): Promise<void> => {
      const { peerCertificate } = arrival.session;
      const peer = PeerGateway.identify(peerCertificate, 'client', directoryOf(gateway), gateway.clock.now());
      await keepCheckpoint(gateway, arrival, peer.name);
    };
    showing().catch((cause: unknown) => {
      arrival.abort(cause instanceof Error ? cause : new Error(String(cause)));
    });
  };
}
