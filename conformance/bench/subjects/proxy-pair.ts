import type { Lab } from '../lab.ts';
import { freePort, type Running } from '../spawn.ts';
import { inspectHop } from './hop.ts';
import type { Subject } from './subject.ts';

/** Where the two ends of a pair of proxies listen. */
export interface PairPorts {
  readonly port: number;
  readonly farPort: number;
}

/** One end, started and listening. */
type Start = (ports: PairPorts) => Promise<Pick<Running, 'pid' | 'stop'>>;

/** Two proxies of a kind with mutual TLS between them: the far one first, its hop inspected before the near one uses it. */
export async function startProxyPair(
  name: string,
  { certificates }: Lab,
  startFar: Start,
  startNear: Start,
): Promise<Subject> {
  const ports = { port: await freePort(), farPort: await freePort() };
  const far = await startFar(ports);
  try {
    const context = await inspectHop(certificates, ports.farPort);
    const near = await startNear(ports);
    return {
      name,
      gateways: [
        { role: 'near', pid: near.pid },
        { role: 'far', pid: far.pid },
      ],
      target: (door, path) => ({ url: `http://127.0.0.1:${ports.port}/${door}${path}`, headers: {} }),
      context,
      stop: async () => {
        await Promise.all([near.stop(), far.stop()]);
      },
      audit: () => Promise.resolve([]),
    };
  } catch (cause) {
    await far.stop();
    throw cause;
  }
}
