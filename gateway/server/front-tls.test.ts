import { connect as connectTls } from 'node:tls';
import t from 'tap';
import { echo, GET, lab, post, send } from '../../conformance/builders/front-lab.ts';
import { connect, converse, PATIENCE_MS } from '../../conformance/harness/raw-socket.ts';
import { readResponses } from '../../conformance/harness/responses.ts';
import { Authority } from '../../pki/authority.ts';
import type { Arrival } from '../exchange/arrival.ts';

void t.test('HTTPS', async (t) => {
  const authority = await Authority.create('front test', () => Date.now());
  const server = await authority.issueServer();
  const client = await authority.issueClient('client');
  let arrived: Arrival | undefined;
  const { play, target, refusals, front } = await lab(
    t,
    (arrival) => echo((arrived = arrival)),
    { handshakeMs: 1500 },
    { key: server.keyPem, cert: server.chainPem },
  );

  const trusting = { host: '127.0.0.1', port: target.port, tls: { ca: authority.rootPem } };
  const played = await converse(trusting, [{ drip: Buffer.from(GET), everyMs: 1 }, { awaitAnswers: 1 }], 0);
  t.equal(readResponses(played.received, [])[0]?.status, 200);
  t.match(arrived?.connection, { tls: true, loopback: true, remote: '127.0.0.1', certificate: undefined });

  const proving = { ...trusting, tls: { ...trusting.tls, key: client.keyPem, cert: client.chainPem } };
  await converse(proving, [send(GET), { awaitAnswers: 1 }], 0);
  t.ok(arrived?.connection.certificate?.equals(client.der), 'the certificate whose key was proved');

  const cut = await converse(
    trusting,
    [send(`${post('Content-Length: 4')}abc`), { end: 'fin' }],
    PATIENCE_MS,
  );
  t.equal(readResponses(cut.received, [])[0]?.status, 400, 'truncation is an error under TLS as well');
  t.equal((await play(`${GET}${GET}`)).responses.length, 1, 'pipelining is not read');

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const sessions: Buffer[] = [];
    const visit = (session?: Buffer): Promise<boolean> =>
      new Promise((resolve, reject) => {
        let reused = true;
        const socket = connectTls(
          { ...proving, ...proving.tls, maxVersion, ...(session ? { session } : {}) },
          () => {
            reused = socket.isSessionReused();
            const own = socket.getSession();
            if (own !== undefined) sessions.push(own);
            socket.write(GET);
          },
        );
        socket.on('session', (given: Buffer) => void sessions.push(given)).on('error', reject);
        socket.on('data', () => socket.end()).on('close', () => resolve(reused));
      });
    t.notOk(await visit());
    t.notOk(await visit(sessions.at(-1)), `${maxVersion}: no resumption`);
  }
  await t.rejects(connect({ ...trusting, tls: { ...trusting.tls, maxVersion: 'TLSv1.1' } }), 'TLS 1.1');
  await t.rejects(
    connect({ ...trusting, tls: { ...trusting.tls, ALPNProtocols: ['spdy/3'] } }),
    'another protocol',
  );

  refusals.length = 0;
  const plain = await converse({ host: '127.0.0.1', port: target.port }, [send(GET)], PATIENCE_MS);
  t.not(plain.ending, 'open', 'plain HTTP on the TLS port');
  const silent = await converse({ host: '127.0.0.1', port: target.port }, [], PATIENCE_MS);
  t.not(silent.ending, 'open', 'a hello that never comes');
  t.same(refusals, ['framing.malformed', 'framing.timeout']);

  const renewed = await authority.issueServer();
  t.throws(
    () => front.renewCertificate({ key: server.keyPem, cert: renewed.chainPem }),
    'key and certificate of different pairs',
  );
  front.renewCertificate({ key: renewed.keyPem, cert: renewed.chainPem });
  const seen = await new Promise<Buffer | undefined>((resolve, reject) => {
    const socket = connectTls({ ...trusting, ...trusting.tls, minVersion: 'TLSv1.2' }, () => {
      resolve(socket.getPeerX509Certificate()?.raw);
      socket.destroy();
    });
    socket.on('error', reject);
  });
  t.ok(seen?.equals(renewed.der), 'new connections see the new certificate');
});
