// The exporter of real TLS connections: what a relay in between cannot have.
import { connect, createServer, type TLSSocket } from 'node:tls';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import t, { type Test as T } from 'tap';
import { AUDIENCE, bound, KEYS, NOW, token } from '../../conformance/builders/ear.ts';
import { Authority } from '../../pki/authority.ts';
import { base64url, sha256 } from '../core/bytes.ts';
import { readCertificate } from '../x509/certificate.ts';
import { EndpointDevice } from './attested-device.ts';
import { EXPORTER_BYTES, EXPORTER_LABEL } from './binding.ts';
import { DeviceRegister } from './register.ts';

const authority = await Authority.create('TW test', () => Date.now());
const server = await authority.issueServer();
const device = await authority.issueClient('pc-1');
const exporterOf = (socket: TLSSocket): Buffer =>
  socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0));

/** One connection of the device: the sockets of both ends. */
async function connection(t: T): Promise<{ client: TLSSocket; gateway: TLSSocket }> {
  const listener = createServer({
    key: server.keyPem,
    cert: server.chainPem,
    ca: authority.rootPem,
    requestCert: true,
    minVersion: 'TLSv1.3',
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const accepted = once(listener, 'secureConnection') as Promise<[TLSSocket]>;
  // A server on TCP has an address with a port.
  const { port } = listener.address() as AddressInfo;
  const client = connect({
    port,
    host: '127.0.0.1',
    ca: authority.rootPem,
    key: device.keyPem,
    cert: device.chainPem,
  });
  const [gateway] = await accepted;
  t.teardown(() => {
    client.destroy();
    gateway.destroy();
    listener.close();
  });
  return { client, gateway };
}

/** What the gateway knows of its end. */
function seen(gateway: TLSSocket) {
  const certificate = gateway.getPeerX509Certificate();
  if (certificate === undefined) throw new Error('no certificate');
  return {
    certificateSha256: base64url(sha256(certificate.raw)),
    spkiSha256: readCertificate(certificate.raw).spkiSha256,
    exporter: exporterOf(gateway),
  };
}

const certificate = base64url(sha256(device.der));
const result = token({ certificate });
const verify = (binding: string, gateway: TLSSocket) =>
  EndpointDevice.verify(
    { token: result, binding },
    seen(gateway),
    AUDIENCE,
    { keys: KEYS, register: new DeviceRegister() },
    NOW,
  );

void t.test('both ends have the same exporter, each connection another', async (t) => {
  const [one, two] = [await connection(t), await connection(t)];
  t.same(exporterOf(one.client), exporterOf(one.gateway));
  t.notSame(exporterOf(one.client), exporterOf(two.client));
});

void t.test('a signature binds the connection it was made on, and no other', async (t) => {
  const [mine, relayed] = [await connection(t), await connection(t)];
  const binding = bound({
    certificateSha256: certificate,
    spkiSha256: '',
    exporter: exporterOf(mine.client),
  });
  t.equal(verify(binding, mine.gateway).residency, 'bound');
  // A18: somebody with a copy of the TLS key, the result and the signature opens a connection of his own.
  t.throws(
    () => verify(binding, relayed.gateway),
    Object.assign(new Error(), { name: 'Denied', code: 'device.binding' }),
  );
});
