import { FAR_NAME } from '../certificates.ts';
import type { Lab } from '../lab.ts';
import { freePort, listening, start as startProgram, type Running } from '../spawn.ts';
import { inspectHop } from './hop.ts';
import type { ProxyOrder } from './node-proxy.ts';
import type { Subject, SubjectKind } from './subject.ts';

const PROGRAM = new URL('node-proxy.ts', import.meta.url).pathname;

async function startProxy(order: ProxyOrder): Promise<Running> {
  const running = startProgram(process.execPath, [PROGRAM, JSON.stringify(order)]);
  try {
    await listening(running, order.port);
  } catch (cause) {
    await running.stop();
    throw cause;
  }
  return running;
}

async function start(lab: Lab): Promise<Subject> {
  const [port, farPort] = [await freePort(), await freePort()];
  const { authority, near: nearId, far: farId } = lab.certificates;
  const common = {
    authority,
    farPort,
    farName: FAR_NAME,
    services: { bench: lab.backend.benchUrl, sink: lab.backend.sinkUrl },
  };
  const far = await startProxy({ ...common, ...farId, side: 'far', port: farPort });
  try {
    const context = await inspectHop(lab.certificates, farPort);
    const near = await startProxy({ ...common, ...nearId, side: 'near', port });
    return {
      name: 'node',
      gateways: [
        { role: 'near', pid: near.pid },
        { role: 'far', pid: far.pid },
      ],
      target: (door, path) => ({ url: `http://127.0.0.1:${port}/${door}${path}`, headers: {} }),
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

/** What the runtime alone costs: two plain Node proxies with mutual TLS 1.3 between them and no duties. */
export const nodePair: SubjectKind = { name: 'node', missing: () => undefined, start };
