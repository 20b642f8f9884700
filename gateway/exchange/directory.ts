import { Denied, quoted } from '../core/errors.ts';
import { fieldValue, type Fields } from '../core/fields.ts';
import { newExchangeId, parseSubsystemId, toUuid } from '../core/ids.ts';
import { clientFields } from '../message/headers.ts';
import { parseTarget } from '../message/target.ts';
import { allowedMethods, formatClientList, listMethods } from '../registry/metaservices.ts';
import type { Arrival } from './arrival.ts';
import { requireOurHost } from './client-request.ts';
import type { Gateway } from './gateway.ts';
import { acceptFields, readerOf, refusalAnswer } from './respond.ts';

const LIST_CLIENTS = '/listClients';
const METHODS = /^\/r1\/([^?]+)\/(listMethods|allowedMethods)$/;

/** The path is one of X-Road's metaservices. Their codes are reserved: no service of anyone can bear them. */
export const asksDirectory = ({ method, target }: Arrival): boolean =>
  method === 'GET' && (target === LIST_CLIENTS || METHODS.test(target));

/**
 * Answers `listClients`, `listMethods` and `allowedMethods`. The signed registry is what a provider would answer from,
 * so our own copy of it answers here: nothing leaves the gateway, nothing is exchanged, and it works while the provider
 * is down.
 */
export function answerFromDirectory(arrival: Arrival, gateway: Gateway): void {
  let head: { readonly status: number; readonly fields: Fields };
  let bytes: Buffer;
  try {
    const list = lookUp(arrival, gateway);
    head = { status: 200, fields: [['content-type', list.contentType]] };
    bytes = list.bytes;
  } catch (thrown) {
    const reader = readerOf(acceptFields(arrival.rawHeaders), gateway.spelling);
    ({ head, bytes } = refusalAnswer(thrown, toUuid(newExchangeId(gateway.random)), reader));
  }
  arrival
    .answer(head, { kind: 'whole', bytes })
    .attach({ drain: () => undefined, error: () => undefined, finish: () => undefined });
}

/** @throws Denied `header.*`, `target.*`, `registry.unknown_member`; Unavailable `registry.expired` */
function lookUp(
  arrival: Arrival,
  gateway: Gateway,
): { readonly contentType: string; readonly bytes: Buffer } {
  const { path } = parseTarget(arrival.target);
  const fields = clientFields(arrival.rawHeaders);
  requireOurHost(arrival.rawHeaders, gateway.hosts);
  const registry = gateway.registry();
  const asked = METHODS.exec(path);
  if (asked === null) {
    const format = fieldValue(fields, 'accept')?.includes('json') === true ? 'json' : 'xml';
    const language = fieldValue(fields, 'accept-language')?.startsWith('zh') === true ? 'zh' : 'en';
    return {
      contentType: format === 'json' ? 'application/json' : 'text/xml',
      bytes: formatClientList(registry, format, language),
    };
  }
  const [, id = '', call] = asked;
  const provider = parseSubsystemId(id);
  if (provider === undefined || registry.subsystem(provider) === undefined) {
    throw new Denied('registry.unknown_member', quoted(id));
  }
  if (call === 'listMethods') return json(listMethods(registry, provider));
  const consumer = parseSubsystemId(fieldValue(fields, 'x-road-client') ?? '');
  if (consumer === undefined) throw new Denied('header.missing', 'x-road-client');
  return json(allowedMethods(registry, consumer, provider, gateway.clock.now()));
}

const json = (list: object): { contentType: string; bytes: Buffer } => ({
  contentType: 'application/json',
  bytes: Buffer.from(JSON.stringify(list), 'utf8'),
});
