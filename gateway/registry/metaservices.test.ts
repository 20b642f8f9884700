import t from 'tap';
import { ECHO, FILES, HOUSING, makeInstance, pinned, WELFARE } from '../../conformance/builders/instance.ts';
import type { RegistryDocument } from './document.ts';
import { openRegistry, signRegistry } from './load.ts';
import { allowedMethods, formatClientList, listClients, listMethods } from './metaservices.ts';
import type { Registry } from './registry.ts';

const NOW = Date.UTC(2026, 10, 22, 8);
const { document, rootKeys } = await makeInstance(NOW);
const registryOf = async (change: Partial<RegistryDocument> = {}): Promise<Registry> =>
  openRegistry(
    Buffer.from(await signRegistry({ ...document, ...change }, [rootKeys.privateKey])),
    pinned(rootKeys.privateKey),
  );
const registry = await registryOf();

const member = { xroad_instance: 'TW', member_class: 'GOV', member_code: 'B07' };
const service = { object_type: 'SERVICE', ...member, subsystem_code: 'housing' };

void t.test('listClients: every member, then its subsystems', async (t) => {
  t.same(listClients(registry, 'en'), {
    member: [
      { id: { object_type: 'MEMBER', ...member, member_code: 'A11' }, name: 'Ministry of Welfare' },
      {
        id: { object_type: 'SUBSYSTEM', ...member, member_code: 'A11', subsystem_code: 'welfare' },
        name: 'Ministry of Welfare',
        subsystem_name: 'welfare',
      },
      { id: { object_type: 'MEMBER', ...member }, name: 'Housing Agency' },
      {
        id: { object_type: 'SUBSYSTEM', ...member, subsystem_code: 'housing' },
        name: 'Housing Agency',
        subsystem_name: 'housing',
      },
    ],
  });
  t.equal(listClients(registry, 'zh').member[0]?.name, '福利部');
});

void t.test('listClients in JSON and XML, made once', async (t) => {
  const json = formatClientList(registry, 'json', 'zh');
  t.same(JSON.parse(json.toString()), listClients(registry, 'zh'));
  const xml = formatClientList(registry, 'xml', 'zh').toString();
  t.ok(
    xml.startsWith(
      '<?xml version="1.0" encoding="UTF-8"?>\n<xroad:clientList xmlns:xroad="http://x-road.eu/xsd/xroad.xsd" xmlns:id="http://x-road.eu/xsd/identifiers">' +
        '<xroad:member><xroad:id id:objectType="MEMBER"><id:xRoadInstance>TW</id:xRoadInstance><id:memberClass>GOV</id:memberClass>' +
        '<id:memberCode>A11</id:memberCode></xroad:id><xroad:name>福利部</xroad:name></xroad:member>' +
        '<xroad:member><xroad:id id:objectType="SUBSYSTEM">',
    ),
  );
  t.match(
    xml,
    '<id:subsystemCode>welfare</id:subsystemCode></xroad:id><xroad:name>福利部</xroad:name><xroad:subsystemName>welfare</xroad:subsystemName>',
  );
  t.ok(xml.endsWith('</xroad:member></xroad:clientList>'));
  t.equal(formatClientList(registry, 'json', 'zh'), json);
  t.not(formatClientList(registry, 'json', 'en'), json);
  t.not(formatClientList(await registryOf({ version: 8 }), 'json', 'zh'), json);
});

void t.test('identifiers are shown decoded, names cannot break the XML', async (t) => {
  const [first, ...rest] = document.members;
  if (first === undefined) throw new Error('the builder gives two members');
  const names = { en: 'A & B <"C">', zh: ']]>&amp;' };
  const subsystems = [
    ...document.subsystems,
    { id: `${first.id}/a%2F%E4%BD%8F` as typeof WELFARE, gateway: document.gateways[0]?.name ?? '' },
  ];
  const odd = await registryOf({ members: [{ ...first, name: names }, ...rest], subsystems });
  const xml = formatClientList(odd, 'xml', 'en').toString();
  t.match(xml, '<xroad:name>A &amp; B &lt;&quot;C&quot;&gt;</xroad:name>');
  t.match(xml, '<id:subsystemCode>a/住</id:subsystemCode>');
  t.match(formatClientList(odd, 'xml', 'zh').toString(), '<xroad:name>]]&gt;&amp;amp;</xroad:name>');
});

void t.test('listMethods: what a provider offers, to whoever asks', async (t) => {
  t.same(listMethods(registry, HOUSING), {
    service: [
      { ...service, service_code: 'echo', service_type: 'REST', endpoint_list: [] },
      { ...service, service_code: 'files', service_type: 'OPENAPI', endpoint_list: [] },
    ],
  });
  t.same(listMethods(registry, WELFARE), { service: [] });
});

void t.test('allowedMethods: what the agreements in force allow', async (t) => {
  const endpoints = (methods: readonly string[], paths: readonly string[]) =>
    methods.flatMap((method) => paths.map((path) => ({ method, path })));
  t.same(allowedMethods(registry, WELFARE, HOUSING, NOW), {
    service: [
      { ...service, service_code: 'echo', service_type: 'REST', endpoint_list: endpoints(['POST'], ['/']) },
      {
        ...service,
        service_code: 'files',
        service_type: 'OPENAPI',
        endpoint_list: endpoints(['GET', 'PUT'], ['/*', '/public/**']),
      },
    ],
  });
  t.same(allowedMethods(registry, HOUSING, HOUSING, NOW), { service: [] }, 'no agreement');
  const [echo, files] = document.agreements;
  if (echo === undefined || files === undefined) throw new Error('the builder gives two agreements');
  const codes = async (change: object, now = NOW): Promise<readonly string[]> => {
    const changed = await registryOf({ agreements: [{ ...echo, ...change }, files] });
    return allowedMethods(changed, WELFARE, HOUSING, now).service.map((row) => row.service_code);
  };
  t.same(await codes({}), ['echo', 'files']);
  t.same(await codes({ enabledByProvider: false }), ['files']);
  t.same(await codes({ enabledByConsumer: false }), ['files']);
  t.same(await codes({ fromMs: NOW + 1 }), ['files']);
  t.same(await codes({ fromMs: NOW }), ['echo', 'files']);
  t.same(await codes({ untilMs: NOW }), ['files']);
  t.same(await codes({ untilMs: NOW + 1 }), ['echo', 'files']);
  t.same([echo.service, files.service], [ECHO, FILES]);
});
