import { execFile } from 'node:child_process';
import net from 'node:net';
import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import tls, { type ConnectionOptions } from 'node:tls';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import {
  CONSUMER,
  credentialsOf,
  makeGateways,
  makePair,
  PROVIDER,
  receive,
  requestHead,
  spkiOfIdentity,
  type LinkPair,
  type PairOptions,
} from '../../conformance/builders/link-pair.ts';
import { opensslMissing } from '../../conformance/builders/openssl.ts';
import { Authority } from '../../pki/authority.ts';
import { Denied } from '../core/errors.ts';
import { PROTOCOLS, type LinkArrival, type LinkTarget } from './link.ts';

const gateways = await makeGateways();
const other = await gateways.authority.issueLink('gw.c99.tw.troad.example');
const WHOLE = { kind: 'whole', bytes: Buffer.from('q') } as const;

const answerAll = (arrival: LinkArrival): void => {
  void receive(arrival.inflow).then(() => arrival.answer({ status: 200, fields: [] }, WHOLE));
};

async function pairOf(t: Test, options: Partial<PairOptions> = {}): Promise<LinkPair & { arrivals: number }> {
  const counts = { arrivals: 0 };
  const pair = await makePair({
    gateways,
    onArrival: (arrival) => {
      counts.arrivals++;
      answerAll(arrival);
    },
    ...options,
    client: { ...options.client, limits: { backoffMinMs: 1, backoffMaxMs: 1, ...options.client?.limits } },
  });
  t.teardown(() => pair.close());
  return Object.defineProperties({ ...pair, arrivals: 0 }, { arrivals: { get: () => counts.arrivals } });
}
const ask = async (pair: LinkPair, target: LinkTarget = pair.target): Promise<number> => {
  const call = await pair.client.call(target, requestHead('/'), WHOLE);
  const { head, inflow } = await call.answer;
  await receive(inflow);
  return head.status;
};

/** A TLS client of its own making. Resolves with what became of it. */
async function knock(
  port: number,
  options: ConnectionOptions,
): Promise<{ error?: string; socket: tls.TLSSocket }> {
  const socket = tls.connect({
    host: '127.0.0.1',
    port,
    servername: PROVIDER,
    ca: gateways.authority.rootPem,
    ALPNProtocols: ['h2'],
    ...options,
  });
  // In TLS 1.3 the client has finished before the server judged its certificate: the refusal comes with the first read.
  const error = await new Promise<string | undefined>((resolve) => {
    let failure: string | undefined;
    socket.on('error', (cause) => (failure = (cause as NodeJS.ErrnoException).code ?? cause.message));
    socket.once('data', () => resolve(undefined));
    socket.once('close', () => resolve(failure ?? 'closed'));
  });
  return error === undefined ? { socket } : { error, socket };
}

const consumer = { key: gateways.consumer.keyPem, cert: gateways.consumer.chainPem };

void t.test('the other gateway is the one the registry names, or nothing is sent', async (t) => {
  const refused = async (
    pair: LinkPair & { arrivals: number },
    target: LinkTarget,
    what: RegExp,
  ): Promise<void> => {
    const head = requestHead('/', { authority: target.name });
    await t.rejects(pair.client.call(target, head, WHOLE), { code: 'link.peer_rejected', message: what });
    t.equal(pair.arrivals, 0);
  };
  await t.test('right authority, wrong name', async (t) => {
    const pair = await pairOf(t);
    await refused(pair, { ...pair.target, name: 'gw.c99.tw.troad.example' }, /not issued for/);
  });
  await t.test('a name that only a wildcard would match', async (t) => {
    const identity = await gateways.authority.issueLink('*.tw.troad.example');
    const pair = await pairOf(t, { server: { credentials: credentialsOf(gateways.authority, identity) } });
    await refused(
      pair,
      { ...pair.target, name: 'gw.tw.troad.example', spki: [spkiOfIdentity(identity)] },
      /not issued/,
    );
  });
  await t.test('right name, wrong key', async (t) => {
    const pair = await pairOf(t);
    await refused(pair, { ...pair.target, spki: [spkiOfIdentity(other)] }, /not registered/);
    await refused(pair, { ...pair.target, spki: [] }, /not registered/);
  });
  await t.test('right name and key, unknown authority', async (t) => {
    const rogue = await Authority.create('rogue', () => Date.now());
    const identity = await rogue.issueLink(PROVIDER);
    const pair = await pairOf(t, { server: { credentials: { ...credentialsOf(rogue, identity) } } });
    await refused(pair, { ...pair.target, spki: [spkiOfIdentity(identity)] }, /issuer|self-signed/);
  });
  await t.test('expired', async (t) => {
    const dates = { notBefore: Date.now() - 2 * 86_400_000, notAfter: Date.now() - 86_400_000 };
    const identity = await gateways.authority.issueLink(PROVIDER, dates);
    const pair = await pairOf(t, { server: { credentials: credentialsOf(gateways.authority, identity) } });
    await refused(pair, { ...pair.target, spki: [spkiOfIdentity(identity)] }, /expired/);
  });
  await t.test('refused by the check of the caller', async (t) => {
    const seen: [string, string][] = [];
    const pair = await pairOf(t, {
      client: {
        verifyPeer: (leaf, target) => {
          seen.push([new X509Certificate(leaf).subjectAltName ?? '', target.name]);
          throw new Denied('peer.quarantined', 'two logs');
        },
      },
    });
    await refused(pair, pair.target, /peer\.quarantined/);
    t.strictSame(seen, [[`DNS:${PROVIDER}`, PROVIDER]], 'asked once, with the leaf');
    t.match(pair.events.at(-1), { kind: 'peer.refused' });
  });
  await t.test('a session is not used for a key that the registry dropped', async (t) => {
    const pair = await pairOf(t);
    t.equal(await ask(pair), 200);
    await t.rejects(ask(pair, { ...pair.target, spki: [spkiOfIdentity(other)] }), {
      code: 'link.peer_rejected',
    });
    t.equal(pair.arrivals, 1);
    t.equal(await ask(pair), 200, 'and is opened again when the key is back');
  });
});

void t.test('who connects has proved a key that is acceptable, or is not heard', async (t) => {
  await t.test('by TLS', async (t) => {
    const pair = await pairOf(t);
    const rogue = await Authority.create('rogue', () => Date.now());
    const mallory = await rogue.issueLink(CONSUMER);
    const { port } = pair.target;
    t.match(await knock(port, {}), { error: /CERTIFICATE_REQUIRED|ECONNRESET|closed/ }, 'no certificate');
    t.match(
      await knock(port, { key: mallory.keyPem, cert: mallory.chainPem }),
      { error: /.+/ },
      'unknown authority',
    );
    const selfMade = { key: consumer.key, cert: gateways.authority.rootPem };
    t.throws(() => tls.createSecureContext(selfMade), 'a certificate of another key is not even sendable');
    t.match(
      await knock(port, { ...consumer, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }),
      { error: /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/ },
      'TLS 1.2',
    );
    t.match(await knock(port, { ...consumer, ALPNProtocols: ['spdy/3'] }), {
      error: /NO_APPLICATION_PROTOCOL/,
    });
    t.match(
      await knock(port, { ...consumer, ALPNProtocols: [] }),
      { error: 'closed' },
      'no ALPN: nothing is guessed',
    );
    const good = await knock(port, consumer);
    t.equal(good.error, undefined, 'the right one is greeted');
    good.socket.destroy();
    t.equal(pair.arrivals, 0);
  });

  await t.test('by the check of the caller, before a byte is read', async (t) => {
    const pair = await pairOf(t, {
      server: {
        verifyPeer: () => {
          throw new Denied('peer.unknown', 'not in the registry');
        },
      },
    });
    await t.rejects(ask(pair), { code: /^link\.(peer_rejected|unreachable)$/ });
    t.match(await knock(pair.target.port, consumer), { error: /closed|ECONNRESET/ });
    t.equal(pair.arrivals, 0);
    t.equal(pair.server.sessions, 0);
    t.match(
      pair.events.filter(
        (event) =>
          event.kind === 'peer.refused' && 'code' in event.cause && event.cause.code === 'peer.unknown',
      ).length,
      2,
    );
  });

  await t.test('identity is that of the leaf, whatever else is in the chain', async (t) => {
    let leaf: Buffer | undefined;
    const pair = await pairOf(t, {
      client: {
        credentials: {
          ...credentialsOf(gateways.authority, gateways.consumer),
          cert: gateways.consumer.pem + gateways.authority.issuingPem + other.pem,
        },
      },
      server: { verifyPeer: (der) => (leaf = der) },
    });
    t.equal(await ask(pair), 200);
    t.ok(leaf?.equals(gateways.consumer.der));
  });
});

void t.test('a peer that is no longer acceptable loses its sessions and what runs on them', async (t) => {
  for (const side of ['client', 'server'] as const) {
    await t.test(side, async (t) => {
      let acceptable = true;
      const verifyPeer = (): void => {
        if (!acceptable) throw new Denied('peer.quarantined', 'now');
      };
      let gone: Error | undefined;
      const pair = await pairOf(t, {
        [side]: { verifyPeer },
        onArrival: (arrival) => arrival.onGone((cause) => (gone = cause)),
      });
      const call = await pair.client.call(pair.target, requestHead('/'), { kind: 'stream' });
      call.outflow.write(Buffer.from('a'));
      while (pair.server.sessions === 0) await tick();
      pair[side].recheck();
      await tick(20);
      t.equal(pair.server.sessions, 1, 'stays while acceptable');
      acceptable = false;
      pair[side].recheck();
      await t.rejects(call.answer, { code: side === 'client' ? 'link.peer_rejected' : 'link.broken' });
      while (gone === undefined || pair.server.sessions > 0) await tick();
      await t.rejects(ask(pair), { code: /^link\./ }, 'and gets no new one');
    });
  }

  await t.test('when its certificate expires', async (t) => {
    for (const side of ['client', 'server'] as const) {
      let ahead = 0;
      const clock = { now: () => Date.now() + ahead, monotonic: () => performance.now() };
      const pair = await pairOf(t, { [side]: { clock } });
      t.equal(await ask(pair), 200);
      const first = pair.events.filter(({ kind }) => kind === 'session.opened').length;
      ahead = 91 * 86_400_000;
      // Once for the session that lives, and then for every new one.
      for (let i = 0; i < 2; i++)
        await t.rejects(ask(pair), { code: /^link\.(peer_rejected|broken)$/ }, side);
      ahead = 0;
      t.equal(await ask(pair), 200);
      t.ok(pair.events.filter(({ kind }) => kind === 'session.opened').length > first);
    }
  });
});

void t.test('credentials change without a failed exchange', async (t) => {
  const pair = await pairOf(t);
  t.equal(await ask(pair), 200);
  const renewed = await gateways.authority.issueLink(PROVIDER);
  const target = { ...pair.target, spki: [...pair.target.spki, spkiOfIdentity(renewed)] };
  t.throws(() =>
    pair.server.renew({ ...credentialsOf(gateways.authority, renewed), cert: renewed.pem.slice(0, 300) }),
  );
  t.throws(() =>
    pair.client.renew({ ...credentialsOf(gateways.authority, other), key: gateways.consumer.keyPem }),
  );
  t.equal(await ask(pair, target), 200, 'half-written files change nothing');
  const running = await pair.client.call(target, requestHead('/'), { kind: 'stream' });
  pair.server.renew(credentialsOf(gateways.authority, renewed));
  pair.client.renew(credentialsOf(gateways.authority, other));
  const call = await pair.client.call(target, requestHead('/'), WHOLE);
  t.ok(call.session.peerCertificate.equals(renewed.der), 'new sessions show the new certificate');
  await receive((await call.answer).inflow);
  running.outflow.end(Buffer.from('x'), [['t-road-end', 'x']]);
  t.equal((await running.answer).head.status, 200, 'what ran before ends in peace');
  await receive((await running.answer).inflow);
});

for (const protocol of PROTOCOLS)
  void t.test(`${protocol}: a server that shows another key asks its peers to come anew`, async (t) => {
    const pair = await pairOf(t, { client: { protocols: [protocol] } });
    const renewed = await gateways.authority.issueLink(PROVIDER);
    const target = { ...pair.target, spki: [...pair.target.spki, spkiOfIdentity(renewed)] };
    const running = await pair.client.call(target, requestHead('/'), { kind: 'stream' });
    running.outflow.write(Buffer.from('a'));
    while (pair.server.sessions === 0) await tick();
    pair.server.renew(credentialsOf(gateways.authority, renewed));
    // The client has renewed nothing, and its session would live for days.
    for (let isNew = false; !isNew; await tick()) {
      const call = await pair.client.call(target, requestHead('/'), WHOLE);
      isNew = call.session.peerCertificate.equals(renewed.der);
      t.equal((await call.answer).head.status, 200);
      await receive((await call.answer).inflow);
    }
    running.outflow.end(Buffer.from('x'), [['t-road-end', 'x']]);
    t.equal((await running.answer).head.status, 200, 'what ran before ends in peace');
    await receive((await running.answer).inflow);
    // Idle or done, nothing is left on the key of before.
    while (pair.server.sessions > 1) await tick();
  });

void t.test('a handshake that began before credentials changed makes no session that stays', async (t) => {
  await t.test('at the server', async (t) => {
    const pair = await pairOf(t);
    const renewed = await gateways.authority.issueLink(PROVIDER);
    const early = net.connect(pair.target.port, '127.0.0.1');
    await new Promise((resolve) => early.once('connect', resolve));
    t.equal(await ask(pair), 200, 'who came later is in, so that this one has been accepted');
    pair.server.renew(credentialsOf(gateways.authority, renewed));
    const { error, socket } = await knock(pair.target.port, { ...consumer, socket: early, host: undefined });
    t.equal(error, undefined);
    t.notOk(socket.getPeerX509Certificate()?.raw.equals(renewed.der), 'it shows the key of before');
    await new Promise((resolve) => socket.once('close', resolve));
    t.pass('and is asked to go');
  });

  await t.test('at the client', async (t) => {
    const seen: Buffer[] = [];
    const pair = await pairOf(t, { server: { verifyPeer: (leaf) => void seen.push(leaf) } });
    const again = await gateways.authority.issueLink(CONSUMER);
    const first = pair.client.call(pair.target, requestHead('/'), WHOLE);
    pair.client.renew(credentialsOf(gateways.authority, again)); // the connection is being opened
    const call = await first;
    t.equal((await call.answer).head.status, 200, 'the call that waited for it is carried');
    await receive((await call.answer).inflow);
    t.equal(await ask(pair), 200);
    t.ok(seen.at(-1)?.equals(again.der), 'with the new key');
    while (pair.server.sessions > 1) await tick();
  });
});

void t.test('key exchange', async (t) => {
  const pair = await pairOf(t, { client: { requireHybrid: true }, server: { requireHybrid: true } });
  let arrival: LinkArrival | undefined;
  t.equal(await ask(pair), 200);
  const classical = await knock(pair.target.port, { ...consumer, ecdhCurve: 'X25519:P-256' });
  t.match(
    classical.error,
    /HANDSHAKE_FAILURE/,
    'a peer without the hybrid group is refused when it is required',
  );
  const lenient = await pairOf(t, { onArrival: (a) => answerAll((arrival = a)) });
  const old = await knock(lenient.target.port, { ...consumer, ecdhCurve: 'X25519' });
  t.equal(old.error, undefined, 'and taken when it is not');
  old.socket.destroy();
  const call = await lenient.client.call(lenient.target, requestHead('/'), WHOLE);
  t.equal(call.session.tls.g, 'X25519MLKEM768', 'the better one is chosen when both can');
  await receive((await call.answer).inflow);
  t.equal(arrival?.session.tls.v, 'TLSv1.3');
});

void t.test('no session is ever resumed', async (t) => {
  const pair = await pairOf(t);
  const { port } = pair.target;

  await t.test('by Node', async (t) => {
    const tickets: Buffer[] = [];
    const first = tls.connect({
      host: '127.0.0.1',
      port,
      servername: PROVIDER,
      ca: gateways.authority.rootPem,
      ALPNProtocols: ['h2'],
      ...consumer,
    });
    first.on('session', (ticket) => tickets.push(ticket));
    first.on('error', () => undefined);
    await new Promise((resolve) => first.once('data', resolve));
    await tick(50);
    first.destroy();
    t.comment(`${tickets.length} tickets`);
    for (const session of [...tickets, first.getSession()]) {
      if (session === undefined) continue;
      const again = await knock(port, { ...consumer, session });
      t.equal(again.socket.isSessionReused(), false);
      again.socket.destroy();
    }
  });

  await t.test('by OpenSSL', { skip: opensslMissing }, async (t) => {
    const dir = t.testdir({
      'key.pem': consumer.key,
      'cert.pem': consumer.cert,
      'issuing.pem': gateways.authority.issuingPem,
      'ca.pem': gateways.authority.rootPem,
    });
    const run = promisify(execFile);
    const args = [
      's_client',
      '-connect',
      `127.0.0.1:${port}`,
      '-servername',
      PROVIDER,
      '-alpn',
      'h2',
      '-tls1_3',
    ];
    const files = ['-key', 'key.pem', '-cert', 'cert.pem', '-cert_chain', 'issuing.pem', '-CAfile', 'ca.pem'];
    const client = (more: string[]): Promise<string> => {
      const child = run('openssl', [...args, ...files, ...more], { cwd: dir });
      // What comes first on the session, a frame of HTTP/2, comes behind all that belongs to the handshake.
      child.child.stdout?.on('data', (text) => {
        if (String(text).includes('\0')) child.child.stdin?.end();
      });
      return child.then(
        ({ stdout }) => stdout,
        (failure: { stdout: string }) => failure.stdout,
      );
    };
    const sess = join(dir, 'sess');
    t.match(await client(['-sess_out', sess]), /^New, TLSv1\.3/m);
    t.ok(existsSync(sess), 'OpenSSL sends the name of a session that Node does not keep');
    const again = await client(['-sess_in', sess]);
    t.match(again, /^New, TLSv1\.3/m);
    t.notMatch(again, /^Reused/m);
  });
});

const tick = (ms = 2): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
