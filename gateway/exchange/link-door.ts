import { PeerGateway } from '../identity/peer.ts';
import type { LinkArrival } from '../link/link.ts';
import { DEVICE_PATH, takeNews } from './device-news.ts';
import type { Gateway } from './gateway.ts';
import { NODE_PATH } from './greeting.ts';
import { provider } from './provide.ts';
import { CHECKPOINT_PATH, keepCheckpoint } from './witness.ts';

/** What comes over the link: greetings, renewals and checkpoints of peers, and messages. */
export function linkDoor(gateway: Gateway): (arrival: LinkArrival) => void {
  const provide = provider(gateway);
  const showing = async (arrival: LinkArrival): Promise<void> => {
    const { peerCertificate } = arrival.session;
    const peer = PeerGateway.identify(peerCertificate, 'client', gateway.directory, gateway.clock.now());
    await keepCheckpoint(gateway, arrival, peer.name);
  };
  const answering = (arrival: LinkArrival): Promise<void> | undefined => {
    switch (arrival.rawHead.path) {
      case NODE_PATH:
        return gateway.devices.greetings.answer(arrival);
      case DEVICE_PATH:
        return takeNews(arrival, gateway.directory, gateway);
      case CHECKPOINT_PATH:
        return showing(arrival);
      default:
        return undefined;
    }
  };
  return (arrival) => {
    const answered = answering(arrival);
    if (answered === undefined) provide(arrival);
    else
      answered.catch((cause: unknown) => {
        arrival.abort(cause instanceof Error ? cause : new Error(String(cause)));
      });
  };
}
