import { FAR_NAME } from '../certificates.ts';
import type { Lab } from '../lab.ts';
import { startListening, type Running } from '../spawn.ts';
import type { ProxyOrder } from './node-proxy.ts';
import { proxyPair, type PairPorts } from './proxy-pair.ts';
import type { SubjectKind } from './subject.ts';

const PROGRAM = new URL('node-proxy.ts', import.meta.url).pathname;

function startProxy(
  { certificates, backend }: Lab,
  side: 'near' | 'far',
  ports: PairPorts,
): Promise<Running> {
  const order: ProxyOrder = {
    ...{ side, authority: certificates.authority, farName: FAR_NAME, ...certificates[side], ...ports },
    services: { bench: backend.benchUrl, sink: backend.sinkUrl },
  };
  const port = side === 'near' ? ports.port : ports.farPort;
  return startListening(process.execPath, [PROGRAM, JSON.stringify(order)], port);
}

/** What the runtime alone costs: two of Fastify's proxies with mutual TLS 1.3 between them and no duties. */
export const nodePair: SubjectKind = {
  ...proxyPair(
    'node',
    (lab, ports) => startProxy(lab, 'far', ports),
    (lab, ports) => startProxy(lab, 'near', ports),
  ),
  missing: () => undefined, // it is what runs us
};
