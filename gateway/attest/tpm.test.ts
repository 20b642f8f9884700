// Against real swtpm processes: what the codec of gateway/tpm/ says is what a TPM understands.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { agileLog, eventDigest, healthyBoot } from '../../conformance/builders/event-log.ts';
import { EV } from '../tpm/event-log.ts';
import { AKS } from '../../conformance/builders/lying-tpm.ts';
import { SwtpmLab, swtpmMissing, tpm2ToolsMissing } from '../../conformance/builders/swtpm.ts';
import { HASH } from '../tpm/algorithm.ts';
import { parseAttest } from '../tpm/attest.ts';
import { EMPTY_PASSWORD, TpmRefused } from '../tpm/command.ts';
import { create, createPrimary, random, readPublic, startPolicySession } from '../tpm/commands.ts';
import { makeCredential } from '../tpm/credential.ts';
import { u32 } from '../tpm/cursor.ts';
import { parseEventLog, replay } from '../tpm/event-log.ts';
import { pcrDigest, sameSelection } from '../tpm/pcr.ts';
import { childQualifiedName, HIERARCHY, parsePublic, primaryQualifiedName } from '../tpm/public.ts';
import { requireSignature } from '../tpm/signature.ts';
import { pcrExtend } from '../tpm/storage-commands.ts';
import { AK_P256, BINDING_P256, EK_P256, EK_RSA } from '../tpm/templates.ts';
import { type EndorsementKey, Tpm } from './tpm.ts';
import { openTransport } from './transport.ts';

const skip = swtpmMissing;
const extraData = Buffer.alloc(32, 0xda);
const selection = { hash: HASH.sha256, pcrs: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14] };
const dir = mkdtempSync(join(tmpdir(), 'troad-tpm-'));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));
const lab = new SwtpmLab(dir);

/** `RECORD_TPM_VECTORS=1 node gateway/attest/tpm.test.ts` writes conformance/vectors/tpm/ anew. */
const vectors = new Map<string, Record<string, string>>();
const record = (name: string, parts: Record<string, Uint8Array>): void => {
  const hex = Object.entries(parts).map(([key, bytes]) => [key, Buffer.from(bytes).toString('hex')]);
  vectors.set(name, Object.fromEntries(hex));
};

void t.test('one device from its endorsement key to a quote', { skip }, async (t) => {
  const device = await lab.make('d1');
  await device.start();
  t.teardown(() => device.stop());
  const tpm = await Tpm.open(device.address);

  for (const type of ['rsa', 'ecc'] as const) {
    for (const [what, template] of Object.entries(type === 'rsa' ? { ecdsa: AK_P256 } : AKS)) {
      await t.test(`${type} EK, ${what} AK`, async (t) => {
        const ek = await tpm.endorsementKey(type);
        t.equal(ek.area.key.type, type);
        const ak = await tpm.loadUnder(ek, await tpm.createUnder(ek, template));
        const binding = await tpm.loadUnder(ek, await tpm.createUnder(ek, BINDING_P256));
        t.equal(ak.area.attributes, template.attributes);

        const secret = Buffer.alloc(32, 0x5e);
        t.same(await tpm.activate(ak, ek, makeCredential(ek.area, ak.area.name, secret)), secret);

        const parent = primaryQualifiedName(HIERARCHY.endorsement, ek.area);
        const known = await tpm.run(readPublic(ak.handle));
        t.same(known.qualifiedName, childQualifiedName(parent, ak.area));

        const certified = await tpm.certify(binding, ak, extraData);
        requireSignature(ak.area, certified.attest, certified.signature);
        t.match(parseAttest(certified.attest), {
          type: 'certify',
          name: binding.area.name,
          qualifiedName: childQualifiedName(parent, binding.area),
          qualifiedSigner: known.qualifiedName,
          extraData,
        });

        const quoted = await tpm.quote(ak, extraData, selection);
        requireSignature(ak.area, quoted.attest, quoted.signature);
        const attest = parseAttest(quoted.attest);
        const values = [...(await tpm.pcrValues(selection)).values()];
        if (attest.type !== 'quote') throw new Error('not a quote');
        t.same(attest.pcrDigest, pcrDigest(HASH.sha256, values));
        t.ok(sameSelection(attest.selections, [selection]));
        t.equal(attest.clockInfo.safe, true);

        const signed = await tpm.signSha256(binding, extraData);
        requireSignature(binding.area, extraData, signed);
        await t.rejects(
          tpm.signSha256(ak, extraData),
          { name: 'TpmRefused' },
          'a restricted key signs no digest of ours',
        );

        record(`${type}-ek-${what}-ak`, {
          ekPublic: ek.area.raw,
          ekCertificate: ek.certificate,
          akPublic: ak.area.raw,
          akQualifiedName: known.qualifiedName,
          bindingPublic: binding.area.raw,
          extraData,
          certifyAttest: certified.attest,
          certifySignature: certified.signature,
          quoteAttest: quoted.attest,
          quoteSignature: quoted.signature,
          pcrValues: Buffer.concat(values),
          bindingSignature: signed,
        });
        await tpm.flush(binding);
        await tpm.flush(ak);
      });
    }
  }

  await t.test("the profile's template gives the very key that the vendor certified", async (t) => {
    const made = await tpm.run(createPrimary(HIERARCHY.endorsement, EK_RSA));
    t.same(made.area.raw, (await tpm.endorsementKey('rsa')).area.raw);
    await tpm.flush(made);
    const p256 = await tpm.run(createPrimary(HIERARCHY.endorsement, EK_P256));
    t.equal(p256.area.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
    await tpm.flush(p256);
  });

  await t.test('13, 14 a credential for another key, or changed, is not opened', async (t) => {
    const ek = await tpm.endorsementKey('rsa');
    const ak = await tpm.loadUnder(ek, await tpm.createUnder(ek, AK_P256));
    const secret = Buffer.alloc(32, 1);
    const otherName = Buffer.from(ak.area.name);
    otherName.writeUInt8(otherName.readUInt8(33) ^ 1, 33);
    const wrongName = makeCredential(ek.area, otherName, secret);
    await t.rejects(tpm.activate(ak, ek, wrongName), { name: 'TpmRefused' });
    for (const part of ['blob', 'secret'] as const) {
      const credential = makeCredential(ek.area, ak.area.name, secret);
      credential[part].writeUInt8(credential[part].readUInt8(20) ^ 1, 20);
      await t.rejects(tpm.activate(ak, ek, credential), { name: 'TpmRefused' }, part);
    }
    // Each failure would leave its session in one of three slots.
    for (let i = 0; i < 4; i += 1) await t.rejects(tpm.activate(ak, ek, wrongName), { name: 'TpmRefused' });
    t.same(await tpm.activate(ak, ek, makeCredential(ek.area, ak.area.name, secret)), secret);
    await tpm.flush(ak);
  });

  await t.test('events extended into the TPM replay to its quote', async (t) => {
    const boot = healthyBoot();
    for (const built of boot) {
      await tpm.run(pcrExtend(built.pcr, [{ hash: HASH.sha256.id, digest: eventDigest(built) }]));
    }
    const replayed = replay(parseEventLog(agileLog(boot)), HASH.sha256);
    const values = await tpm.pcrValues({
      hash: HASH.sha256,
      pcrs: [...replayed.keys()].toSorted((a, b) => a - b),
    });
    for (const [pcr, value] of values) t.same(replayed.get(pcr)?.value, value, `PCR ${pcr}`);
  });

  await t.test('34 a bank that is not there: quoted empty, read never', async (t) => {
    const ek = await tpm.endorsementKey('ecc');
    const ak = await tpm.loadUnder(ek, await tpm.createUnder(ek, AK_P256));
    const absent = { hash: HASH.sha384, pcrs: [0] };
    const { attest } = await tpm.quote(ak, extraData, absent);
    const read = parseAttest(attest);
    t.equal(read.type === 'quote' && sameSelection(read.selections, [absent]), false);
    await t.rejects(tpm.pcrValues(absent), /no sha384 bank/);
    await tpm.flush(ak);
  });

  await t.test('what another program left behind is swept away', async (t) => {
    const ek = await tpm.endorsementKey('ecc');
    for (let i = 0; i < 2; i += 1) await tpm.loadUnder(ek, await tpm.createUnder(ek, AK_P256));
    for (let i = 0; i < 3; i += 1) await tpm.run(startPolicySession(Buffer.alloc(16), HASH.sha256));
    await t.rejects(
      tpm.run(startPolicySession(Buffer.alloc(16), HASH.sha256)),
      new TpmRefused('StartAuthSession', 0x903),
    );
    await tpm.close();
    const again = await Tpm.open(device.address);
    const key = await again.endorsementKey('rsa');
    t.ok(await again.run(create(ek.handle, EMPTY_PASSWORD, AK_P256)));
    t.ok(await again.createUnder(key, AK_P256));
    await again.close({ shutdown: true });
  });
});

void t.test('kill -9 six times: no lock-out, and the reset count tells', { skip }, async (t) => {
  const device = await lab.make('d2');
  await device.start();
  t.teardown(() => device.stop());
  let tpm = await Tpm.open(device.address);
  const ek = await tpm.endorsementKey('ecc');
  const blob = await tpm.createUnder(ek, AK_P256);
  const quoted = async (of: EndorsementKey) => {
    const ak = await tpm.loadUnder(of, blob);
    const { attest, signature } = await tpm.quote(ak, extraData, selection);
    requireSignature(ak.area, attest, signature);
    return parseAttest(attest).clockInfo;
  };
  const before = await quoted(ek);
  for (let i = 0; i < 6; i += 1) {
    await device.stop('SIGKILL');
    await t.rejects(tpm.quote(ek, extraData, selection), /closed|EPIPE|ECONNRESET/);
    await device.start();
    tpm = await Tpm.open(device.address);
    await quoted(await tpm.endorsementKey('ecc'));
  }
  const after = await quoted(await tpm.endorsementKey('ecc'));
  t.ok(after.resetCount >= before.resetCount + 6, `${before.resetCount} → ${after.resetCount}`);
  await tpm.close({ shutdown: true });
});

void t.test('"not now" is asked again, with the same bytes; any other refusal is final', async (t) => {
  const asked: string[] = [];
  const codes = [0x922, 0x908, 0x90a, 0, 0x101];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      const code = bytes.readUInt32BE(6);
      if (code !== 0x17b) {
        socket.write(answerOf(code === 0x17a ? '000000000100000000' : '', 0)); // no handles to sweep
        return;
      }
      asked.push(bytes.toString('hex'));
      const rc = codes.shift() ?? 0;
      socket.write(answerOf(rc === 0 ? '0004aabbccdd' : '', rc));
    });
  });
  await new Promise<void>((resolve) => server.listen(join(dir, 'fake.sock'), resolve));
  t.teardown(() => server.close());
  const tpm = await Tpm.open(`unix:${join(dir, 'fake.sock')}`);
  t.same(await tpm.run(random(4)), Buffer.from('aabbccdd', 'hex'));
  t.equal(asked.length, 4);
  t.equal(new Set(asked).size, 1);
  await t.rejects(tpm.run(random(4)), new TpmRefused('GetRandom', 0x101));
  await tpm.close();
});

const answerOf = (body: string, rc: number): Buffer => {
  const bytes = Buffer.from(body, 'hex');
  return Buffer.concat([Buffer.from('8001', 'hex'), u32(10 + bytes.length), u32(rc), bytes]);
};

void t.test('a TPM that misbehaves on the wire', async (t) => {
  const answers = new Map([
    ['more than it announces', Buffer.from('80010000000a0000000000', 'hex')],
    ['a size below the header', Buffer.from('80010000000900000000', 'hex')],
    ['5 GiB', Buffer.from('8001ffffffff00000000', 'hex')],
  ]);
  for (const [what, answer] of answers) {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', () => socket.write(answer));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    await t.rejects(
      Tpm.open(`tcp:127.0.0.1:${port}`),
      {
        message: `tcp:127.0.0.1:${port}: no TPM could be started there: `,
        cause: { name: 'TpmLost', cause: { name: 'MalformedBytes' } },
      },
      what,
    );
    server.close();
  }
  await t.rejects(Tpm.open('device:/dev/null'), {
    message: /^device:\/dev\/null: no TPM could be started there: /,
  });
  await t.rejects(Tpm.open('swtpm'), TypeError);
  await t.rejects(Tpm.open(`unix:${dir}/nothing`), { code: 'ENOENT' });
  await t.rejects(Tpm.open('device:/dev/tpm-that-is-not-there'), { code: 'ENOENT' });
});

void t.test('something that listens and does not answer is given up', async (t) => {
  const server = createServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(join(dir, 'silent.sock'), resolve));
  t.teardown(() => server.close());
  const transport = await openTransport(`unix:${join(dir, 'silent.sock')}`, 100);
  await t.rejects(transport.transmit(random(4).bytes), /no answer in 0\.1 s: is this a TPM/);
  await transport.close();
});

void t.test(
  'cross-check: tpm2-tools open our credential and make our quote',
  { skip: tpm2ToolsMissing },
  async (t) => {
    const device = await lab.make('d3');
    const port = 20_000 + 2 * (process.pid % 10_000);
    await device.startTcp(port);
    t.teardown(() => device.stop());
    const at = (name: string): string => join(dir, name);
    const tpm2 = (...args: string[]): void => {
      const env = { ...process.env, TPM2TOOLS_TCTI: `swtpm:host=127.0.0.1,port=${port}` };
      const done = spawnSync('tpm2', args, { env, encoding: 'utf8', timeout: 600_000 });
      if (done.status !== 0) throw new Error(`tpm2 ${args.join(' ')}: ${done.stderr}`);
    };
    tpm2('createak', '-C', '0x81010001', '-c', at('ak.ctx'), '-G', 'ecc', '-g', 'sha256', '-s', 'ecdsa', '-u', at('ak.pub'), '-f', 'tss'); // prettier-ignore
    tpm2('flushcontext', '-t');
    tpm2('readpublic', '-c', '0x81010001', '-o', at('ek.pub'), '-f', 'tss');
    const area = (name: string) => parsePublic(readFileSync(at(name)).subarray(2));
    const [ak, ek] = [area('ak.pub'), area('ek.pub')];
    const secret = Buffer.alloc(32, 0x11);
    const { blob, secret: encrypted } = makeCredential(ek, ak.name, secret);
    writeFileSync(at('cred.bin'), Buffer.concat([u32(0xbadc_c0de), u32(1), blob, encrypted]));
    tpm2('startauthsession', '--policy-session', '-S', at('s.ctx'));
    tpm2('policysecret', '-S', at('s.ctx'), '-c', 'e');
    tpm2('activatecredential', '-c', at('ak.ctx'), '-C', '0x81010001', '-i', at('cred.bin'), '-o', at('out.bin'), '-P', `session:${at('s.ctx')}`); // prettier-ignore
    tpm2('flushcontext', at('s.ctx'));
    tpm2('flushcontext', '-t');
    t.same(readFileSync(at('out.bin')), secret);
    tpm2('quote', '-c', at('ak.ctx'), '-l', 'sha256:0,1,2,3,4,5,6,7,8,9,14', '-q', extraData.toString('hex'), '-m', at('q.msg'), '-s', at('q.sig'), '-g', 'sha256'); // prettier-ignore
    requireSignature(ak, readFileSync(at('q.msg')), readFileSync(at('q.sig')));
    const read = parseAttest(readFileSync(at('q.msg')));
    t.ok(read.type === 'quote' && sameSelection(read.selections, [selection]));
    t.same(read.qualifiedSigner, childQualifiedName(primaryQualifiedName(HIERARCHY.endorsement, ek), ak));
  },
);

void t.test('cross-check: tpm2 eventlog replays as we do', { skip: tpm2ToolsMissing }, async (t) => {
  const path = join(dir, 'log.bin');
  // It reads what the types promise, and stops at UEFI variables that are none: plain ones for it.
  const plain = healthyBoot().map((built) =>
    built.type === EV.separator ? built : { ...built, type: EV.ipl },
  );
  writeFileSync(path, agileLog(plain));
  const { stdout, status, stderr } = spawnSync('tpm2', ['eventlog', path], { encoding: 'utf8' });
  t.equal(status, 0, stderr);
  for (const [pcr, { value }] of replay(parseEventLog(readFileSync(path)), HASH.sha256)) {
    t.match(stdout, new RegExp(`^ +${pcr} +: 0x${Buffer.from(value).toString('hex')}$`, 'm'));
  }
});

const golden = new URL('../../conformance/vectors/tpm/', import.meta.url);
t.teardown(() => {
  if (process.env['RECORD_TPM_VECTORS'] !== '1') return;
  mkdirSync(golden, { recursive: true });
  for (const [name, parts] of vectors) {
    writeFileSync(new URL(`${name}.json`, golden), `${JSON.stringify(parts, undefined, 1)}\n`);
  }
});
