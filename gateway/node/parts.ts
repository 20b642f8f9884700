import { createPrivateKey, createPublicKey } from 'node:crypto';
import type { GatewayConfig, ServiceConfig } from '../config/config.ts';
import type { Gateway, LocalService } from '../exchange/gateway.ts';
import type { SigningKey } from '../message/signing-queue.ts';
import { messageKeyRow } from '../registry/keys.ts';
import { ServiceHop } from '../service/hop.ts';
import { readAuthorities } from './key-files.ts';

/** @param pem of the private key. @throws TypeError for a kind of key that does not sign messages */
export function signingKeyOf({ keys, node }: Pick<GatewayConfig, 'keys' | 'node'>, pem: string): SigningKey {
  const privateKey = createPrivateKey(pem);
  const row = messageKeyRow(node.name, createPublicKey(privateKey), { notBefore: 0, notAfter: 0 });
  return { kid: keys.message.kid ?? row.kid, algorithm: row.alg, privateKey };
}

export function localService(service: ServiceConfig, { limits }: GatewayConfig): LocalService {
  const { origin, pathname } = new URL(service.url);
  const hop = new ServiceHop({
    origin,
    basePath: pathname.replace(/\/$/, ''),
    timeoutMs: service.timeoutMs,
    connectMs: limits.connectMs,
    maxConcurrent: service.maxConcurrent,
    ...(service.ca === undefined
      ? {}
      : { ca: readAuthorities(`/services (${service.id})/ca`, service.ca).toString('latin1') }),
  });
  const { id, delivery, timeoutMs, maxRequestBytes, maxResponseBytes = Number.MAX_SAFE_INTEGER } = service;
  return { id, hop, delivery, timeoutMs, maxRequestBytes, maxResponseBytes };
}

export function subsystemsOf({ subsystems }: GatewayConfig): Gateway['subsystems'] {
  const byId = new Map(subsystems.map((subsystem) => [subsystem.id, subsystem]));
  return { localSubsystem: (id) => byId.get(id) };
}
