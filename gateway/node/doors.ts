import { randomBytes } from 'node:crypto';
import type { GatewayConfig } from '../config/config.ts';
import { newExchangeId, toUuid } from '../core/ids.ts';
import { consumer } from '../exchange/consume.ts';
import type { Gateway } from '../exchange/gateway.ts';
import { linkDoor } from '../exchange/link-door.ts';
import { answerFor } from '../exchange/respond.ts';
import { PeerGateway } from '../identity/peer.ts';
import { createLinkServer } from '../link/server.ts';
import type { LinkServer, LinkServerOptions } from '../link/link.ts';
import { Front, type FrontOptions } from '../server/front.ts';
import { clock } from './clock.ts';
import type { Credentials } from './credentials.ts';

/** Where exchanges come in: the listeners of one worker. */
export class Doors {
  readonly linkPort: number;
  readonly #server: LinkServer;
  readonly #fronts: readonly Front[];
  readonly #drainMs: number;

  private constructor(linkPort: number, server: LinkServer, fronts: readonly Front[], drainMs: number) {
    this.linkPort = linkPort;
    this.#server = server;
    this.#fronts = fronts;
    this.#drainMs = drainMs;
  }

  /** Several workers share each port: the kernel spreads connections. @throws the system's error for an address */
  static async open(
    config: GatewayConfig,
    credentials: Credentials,
    gateway: Gateway,
    link: Omit<LinkServerOptions, 'credentials' | 'verifyPeer' | 'onArrival'>,
  ): Promise<Doors> {
    const reusePort = config.workers > 1;
    const server = createLinkServer({
      ...link,
      credentials: credentials.link,
      verifyPeer: (leaf) => {
        PeerGateway.identify(leaf, 'client', gateway.directory, clock.now());
      },
      onArrival: linkDoor(gateway),
    });
    const { host, port } = config.link;
    const linkPort = await server.listen({ host, port, reusePort });
    const fronts = await openFronts(config, credentials, gateway, reusePort);
    return new Doors(linkPort, server, fronts, config.limits.drainMs);
  }

  /** Ends sessions of peers that have expired, left the registry, or were set apart. */
  recheck(): void {
    this.#server.recheck();
  }

  renewLink(next: Credentials['link']): void {
    this.#server.renew(next);
  }

  renewHttps(next: NonNullable<Credentials['https']>): void {
    for (const front of this.#fronts) front.renewCertificate(next);
  }

  /** Accepts nothing more; what runs may end within the time for it. */
  async close(): Promise<void> {
    const overdue = setTimeout(() => {
      for (const front of this.#fronts) front.destroy(new Error('the gateway stops'));
    }, this.#drainMs);
    await Promise.all(this.#fronts.map((front) => front.close()));
    clearTimeout(overdue);
  }

  drain(): Promise<void> {
    return this.#server.drain();
  }
}

async function openFronts(
  config: GatewayConfig,
  credentials: Credentials,
  gateway: Gateway,
  reusePort: boolean,
): Promise<Front[]> {
  const { http, https } = config.listen;
  const common: Omit<FrontOptions, 'host' | 'port'> = {
    reusePort,
    consume: consumer(gateway),
    clock,
    refusalAnswer: (code, wishes) =>
      answerFor(code, toUuid(newExchangeId(randomBytes)), { ...wishes, spelling: gateway.spelling }),
    onFramingRefusal: (code, remote) => {
      gateway.observer.refusedUnknown(code, remote, 'framing');
    },
    limits: {
      headMs: config.limits.headMs,
      idleMs: config.limits.idleConnectionMs,
      connections: config.limits.maxConnections,
      connectionsPerAddress: config.limits.maxConnections,
    },
  };
  const fronts: Front[] = [];
  if (http !== undefined) fronts.push(await Front.http({ ...common, ...http }));
  if (https !== undefined && credentials.https !== undefined) {
    const { host, port } = https;
    fronts.push(await Front.https({ ...common, host, port, ...credentials.https }));
  }
  return fronts;
}
