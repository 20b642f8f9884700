import t from 'tap';
import { base64url, sha256 } from '../core/bytes.ts';
import type { SubsystemId } from '../core/ids.ts';
import {
  type ClientAccess,
  type ClientConnectionFacts,
  ClientSystem,
  type LocalSubsystem,
} from './client-system.ts';

const ID = 'TW/GOV/A11/welfare' as SubsystemId; // spelled as parseSubsystemId would accept it
const registered = Buffer.from('a certificate');
const stranger = Buffer.from('another certificate');
const hash = base64url(sha256(registered));

const directory = (access: ClientAccess, certificates: readonly string[] = [hash]) => ({
  localSubsystem: (id: SubsystemId): LocalSubsystem | undefined =>
    id === ID ? { id: ID, access, certificates } : undefined,
});

const http = { tls: false, loopback: false };
const local = { tls: false, loopback: true };
const https = { tls: true, loopback: false };
const MISSING = 'client.certificate_missing';
const UNKNOWN = 'client.certificate_unknown';

// Everything a connection can be, for everything a subsystem can ask for.
const table: readonly (readonly [what: string, ClientConnectionFacts, Record<ClientAccess, string>])[] = [
  ['plain HTTP from elsewhere', http, { loopback: MISSING, https: MISSING, mtls: MISSING }],
  ['plain HTTP from this machine', local, { loopback: 'loopback', https: MISSING, mtls: MISSING }],
  ['HTTPS from elsewhere', https, { loopback: MISSING, https: 'https', mtls: MISSING }],
  [
    'HTTPS from this machine',
    { tls: true, loopback: true },
    { loopback: 'loopback', https: 'https', mtls: MISSING },
  ],
  [
    'HTTPS with the certificate',
    { ...https, certificate: registered },
    { loopback: 'mtls', https: 'mtls', mtls: 'mtls' },
  ],
  [
    'HTTPS with another',
    { ...https, certificate: stranger },
    { loopback: MISSING, https: 'https', mtls: UNKNOWN },
  ],
  [
    'HTTPS with an empty one',
    { ...https, certificate: Buffer.alloc(0) },
    { loopback: MISSING, https: 'https', mtls: UNKNOWN },
  ],
  // No TLS proved it, so it is not looked at.
  [
    'plain HTTP with the certificate',
    { ...http, certificate: registered },
    { loopback: MISSING, https: MISSING, mtls: MISSING },
  ],
];
for (const [what, connection, expected] of table) {
  for (const access of ['loopback', 'https', 'mtls'] as const) {
    void t.test(`${what}, asked for ${access}: ${expected[access]}`, async (t) => {
      const identify = () => ClientSystem.identify(connection, ID, directory(access));
      if (expected[access].startsWith('client.')) {
        t.throws(identify, { name: 'Denied', code: expected[access] });
      } else {
        const proof = identify();
        t.equal(proof.subsystem, ID);
        t.equal(proof.method, expected[access]);
        t.equal(proof.certificate, proof.method === 'mtls' ? hash : undefined);
      }
    });
  }
}

void t.test('refuses a subsystem that is not ours, whatever certificate comes', async (t) => {
  const claimed = 'TW/GOV/B07/housing' as SubsystemId;
  const connection = { ...https, certificate: registered };
  t.throws(() => ClientSystem.identify(connection, claimed, directory('mtls')), {
    name: 'Denied',
    code: 'client.unknown',
  });
});

void t.test('with no certificate registered none is known', async (t) => {
  const connection = { ...https, certificate: registered };
  t.throws(() => ClientSystem.identify(connection, ID, directory('mtls', [])), {
    name: 'Denied',
    code: UNKNOWN,
  });
});
