import { FAR_NAME } from '../certificates.ts';
import type { Lab } from '../lab.ts';
import { listening, start as startProgram, type Running } from '../spawn.ts';
import { startProxyPair } from './proxy-pair.ts';
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

function start(lab: Lab): Promise<Subject> {
  const { authority, near, far } = lab.certificates;
  const services = { bench: lab.backend.benchUrl, sink: lab.backend.sinkUrl };
  const common = { authority, farName: FAR_NAME, services };
  return startProxyPair(
    'node',
    lab,
    ({ farPort }) => startProxy({ ...common, ...far, farPort, side: 'far', port: farPort }),
    ({ port, userPort, farPort }) =>
      startProxy({ ...common, ...near, farPort, side: 'near', port, userPort }),
  );
}

/** What the runtime alone costs: two plain Node proxies with mutual TLS 1.3 between them and no duties. */
export const nodePair: SubjectKind = { name: 'node', missing: () => undefined, start };
