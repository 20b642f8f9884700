import { utf8 } from '../core/bytes.ts';
import type { EpochMs } from '../core/clock.ts';
import type { MemberId, ServiceId, SubsystemId } from '../core/ids.ts';
import type { AgreementRow, Names } from './document.ts';
import type { Service } from './entries.ts';
import type { Registry } from './registry.ts';

/** Which of a member's two names is shown: X-Road has room for one. */
export type Language = keyof Names;

/** X-Road's spelling of an identifier in JSON (PR-META 4.1, PR-MREST 4.1): decoded parts. */
interface ClientId {
  readonly object_type: 'MEMBER' | 'SUBSYSTEM';
  readonly xroad_instance: string;
  readonly member_class: string;
  readonly member_code: string;
  readonly subsystem_code?: string;
}

/** Answer of `GET /listClients`. */
export interface ClientList {
  readonly member: readonly {
    readonly id: ClientId;
    readonly name: string;
    readonly subsystem_name?: string;
  }[];
}

/** Answer of `listMethods` and `allowedMethods`. */
export interface MethodList {
  readonly service: readonly {
    readonly object_type: 'SERVICE';
    readonly xroad_instance: string;
    readonly member_class: string;
    readonly member_code: string;
    readonly subsystem_code: string;
    readonly service_code: string;
    readonly service_type: 'REST' | 'OPENAPI';
    readonly endpoint_list: readonly { readonly method: string; readonly path: string }[];
  }[];
}

/** Every member, each followed by its subsystems. */
export function listClients({ document }: Registry, language: Language): ClientList {
  const subsystems = new Map<string, SubsystemId[]>();
  for (const { id } of document.subsystems) {
    const owner = id.slice(0, id.lastIndexOf('/'));
    const list = subsystems.get(owner);
    if (list === undefined) subsystems.set(owner, [id]);
    else list.push(id);
  }
  return {
    member: document.members.flatMap(({ id, name }) => [
      { id: clientId(id), name: name[language] },
      ...(subsystems.get(id) ?? []).map((subsystem) => {
        const client = clientId(subsystem);
        // Subsystems have no name of their own here; X-Road shows the code then.
        return { id: client, name: name[language], subsystem_name: client.subsystem_code ?? '' };
      }),
    ]),
  };
}

/** The bytes of `GET /listClients`: the same for everyone, so made once per registry. */
export function formatClientList(registry: Registry, format: 'json' | 'xml', language: Language): Buffer {
  const made = clientLists.get(registry) ?? new Map<string, Buffer>();
  clientLists.set(registry, made);
  const key = `${format} ${language}`;
  const known = made.get(key);
  if (known !== undefined) return known;
  const list = listClients(registry, language);
  const bytes = utf8(format === 'json' ? JSON.stringify(list) : clientListXml(list));
  made.set(key, bytes);
  return bytes;
}

const clientLists = new WeakMap<Registry, Map<string, Buffer>>();

/** Services of a provider, whoever asks. The registry knows no single endpoints, so the lists of endpoints are empty. */
export function listMethods(registry: Registry, provider: SubsystemId): MethodList {
  return { service: registry.servicesOf(provider).map((service) => method(service, [])) };
}

/** Services of a provider for which this consumer has an agreement in force, with what the agreements allow. */
export function allowedMethods(
  registry: Registry,
  consumer: SubsystemId,
  provider: SubsystemId,
  now: EpochMs,
): MethodList {
  const allowed: MethodList['service'][number][] = [];
  for (const service of registry.servicesOf(provider)) {
    const agreements = registry.agreementsFor(consumer, service.id).filter((row) => isInForce(row, now));
    if (agreements.length > 0) allowed.push(method(service, agreements));
  }
  return { service: allowed };
}

function isInForce(row: AgreementRow, now: EpochMs): boolean {
  return row.enabledByProvider && row.enabledByConsumer && now >= row.fromMs && now < row.untilMs;
}

function method(service: Service, agreements: readonly AgreementRow[]): MethodList['service'][number] {
  const { xroad_instance, member_class, member_code, subsystem_code = '' } = clientId(service.subsystem);
  return {
    object_type: 'SERVICE',
    xroad_instance,
    member_class,
    member_code,
    subsystem_code,
    service_code: decodeURIComponent(service.code),
    service_type: service.type,
    endpoint_list: agreements.flatMap(({ methods, paths }) =>
      methods.flatMap((verb) => paths.map((path) => ({ method: verb, path }))),
    ),
  };
}

function clientId(id: MemberId | SubsystemId | ServiceId): ClientId {
  const [instance = '', memberClass = '', code = '', subsystem] = id.split('/').map(decodeURIComponent);
  const member = { xroad_instance: instance, member_class: memberClass, member_code: code };
  return subsystem === undefined
    ? { object_type: 'MEMBER', ...member }
    : { object_type: 'SUBSYSTEM', ...member, subsystem_code: subsystem };
}

/** PR-META annex: namespaces and element names of X-Road's schema. */
function clientListXml(list: ClientList): string {
  const members = list.member.map(({ id, name, subsystem_name }) => {
    const subsystem = id.subsystem_code === undefined ? '' : element('id:subsystemCode', id.subsystem_code);
    const parts =
      element('id:xRoadInstance', id.xroad_instance) +
      element('id:memberClass', id.member_class) +
      element('id:memberCode', id.member_code) +
      subsystem;
    const shown = subsystem_name === undefined ? '' : element('xroad:subsystemName', subsystem_name);
    return `<xroad:member><xroad:id id:objectType="${id.object_type}">${parts}</xroad:id>${element('xroad:name', name)}${shown}</xroad:member>`;
  });
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
    '<xroad:clientList xmlns:xroad="http://x-road.eu/xsd/xroad.xsd" xmlns:id="http://x-road.eu/xsd/identifiers">' +
    `${members.join('')}</xroad:clientList>`
  );
}

const element = (name: string, text: string): string => `<${name}>${escaped(text)}</${name}>`;

/** Names are people's text; control characters were refused when the registry was read. */
const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
