import t from 'tap';
import { makeCutProxy, type CutProxy, type Direction } from '../../conformance/builders/cut-proxy.ts';
import { makeGateways, makePair, receive, requestHead } from '../../conformance/builders/link-pair.ts';
import type { LinkProtocol } from './link.ts';

// Who sits on the wire can change one bit a connection. Node then tells of an error and leaves the socket open, at both
// ends: a gateway that only forgets the session would keep one more descriptor each time, until none is left.

const gateways = await makeGateways();
const BODY = Buffer.alloc(3000, 'a');

for (const protocol of ['troad/1', 'h2', 'http/1.1'] satisfies LinkProtocol[]) {
  for (const direction of ['up', 'down'] satisfies Direction[]) {
    void t.test(
      `${protocol}: a byte changed on the way ${direction} ends the connection at both ends`,
      async (t) => {
        let wire!: CutProxy;
        const pair = await makePair({
          gateways,
          onArrival: (arrival) => {
            receive(arrival.inflow).then(
              ({ bytes }) => arrival.answer({ status: 200, fields: [] }, { kind: 'whole', bytes }),
              () => undefined,
            );
          },
          client: { protocols: [protocol], limits: { sessionsPerPeer: 1 } },
          via: async (port) => (wire = await makeCutProxy(port)).port,
        });
        t.teardown(async () => {
          await wire.close();
          await pair.close();
        });
        const exchange = async (): Promise<Buffer> => {
          const call = await pair.client.call(pair.target, requestHead('/'), { kind: 'whole', bytes: BODY });
          return (await receive((await call.answer).inflow)).bytes;
        };
        t.same(await exchange(), BODY);
        wire.plan({ direction, how: 'flip', after: 200 });
        await t.rejects(exchange(), { code: 'link.broken' });
        while (wire.connections > 0 || pair.server.sessions > 0)
          await new Promise((resolve) => setTimeout(resolve, 5));
        t.same(await exchange(), BODY, 'the next exchange has a connection of its own');
      },
    );
  }
}
