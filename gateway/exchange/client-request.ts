import { Denied, quoted } from '../core/errors.ts';
import { fieldValue, type Field, type Fields } from '../core/fields.ts';
import { parseSubsystemId, toUuid, type ExchangeId, type SubsystemId } from '../core/ids.ts';
import { originOf } from '../identity/dpop.ts';
import { clientFields } from '../message/headers.ts';
import { parseRoute, parseTarget, type Route, type Target } from '../message/target.ts';
import type { Arrival } from './arrival.ts';
import { RequestHash } from './request-hash.ts';

/** What a client system asks, read once from the raw bytes; policy, signature, log and provider all see this. */
export interface ClientRequest {
  readonly method: string;
  readonly target: Target;
  readonly route: Route;
  /** What `X-Road-Client` claims; proved by {@link ClientSystem.identify}. */
  readonly client: SubsystemId;
  /** X-Road-Id: the client's, or ours when it sent none. */
  readonly xid: string;
  /** Fields that travel, canonical, X-Road-Id included. */
  readonly fields: Fields;
  readonly length: number | undefined;
  /** Scheme and authority the client called us by, in one spelling: what `htu` of a proof is compared with. */
  readonly origin: string;
  /** X-Road-Request-Id. */
  readonly requestId: string;
  readonly hash: RequestHash | undefined;
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const HOST = /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::\d{1,5})?$/;

/** @throws Denied `framing.*`, `target.*`, `header.*` */
export function readClientRequest(
  arrival: Arrival,
  id: ExchangeId,
  instance: string,
  hosts: ReadonlySet<string>,
  withHash: boolean,
): ClientRequest {
  const { method, rawHeaders } = arrival;
  if (!METHODS.has(method)) throw new Denied('framing.method', quoted(method));
  const target = parseTarget(arrival.target);
  const carried = clientFields(rawHeaders);
  const host = requireOurHost(rawHeaders, hosts);
  const route = parseRoute(target.path);
  const client = parseSubsystemId(fieldValue(carried, 'x-road-client') ?? '');
  if (client === undefined)
    throw new Denied('header.missing', quoted(fieldValue(carried, 'x-road-client') ?? 'absent'));
  const given = fieldValue(carried, 'x-road-id');
  if (given !== undefined && (given === '' || given.length > 255))
    throw new Denied('header.malformed', 'x-road-id length');
  const requestId = toUuid(id);
  const xid = given ?? `${instance}-${requestId}`;
  const madeId: readonly Field[] = given === undefined ? [['x-road-id', xid]] : [];
  const hash = withHash
    ? new RequestHash(method, target.path + target.query, rawHeaders, [
        ...madeId,
        ['x-road-request-id', requestId],
      ])
    : undefined;
  const origin = originOf(arrival.connection.tls ? 'https' : 'http', host);
  const length = arrival.length === 'chunked' ? undefined : arrival.length;
  const fields = given === undefined ? [...carried, ...madeId] : carried;
  return { method, target, route, client, xid, fields, length, origin, requestId, hash };
}

/**
 * Only names that are ours: a web page that rebinds its DNS name to this address must not reach the gateway.
 * RFC 9110 §7.4; the port is not compared, it may be mapped on the way.
 * @returns Host as it was sent
 */
export function requireOurHost(rawHeaders: readonly string[], hosts: ReadonlySet<string>): string {
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() !== 'host') continue;
    const sent = rawHeaders[i + 1] ?? '';
    const host = HOST.exec(sent.toLowerCase())?.[1];
    if (host === undefined) throw new Denied('header.malformed', 'host');
    if (!hosts.has(host)) throw new Denied('target.misdirected', quoted(host));
    return sent;
  }
  throw new Denied('header.malformed', 'host is missing'); // RFC 9112 §3.2
}
