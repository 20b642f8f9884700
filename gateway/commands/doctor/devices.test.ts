// Real sockets and files; the attestation service and the agent are ours, so they can lie.
import { createServer } from 'node:http';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CONTENT, KEYS, token } from '../../../conformance/builders/ear.ts';
import { RevocationServer, Verifier } from '../../../conformance/harness/device-lab.ts';
import { Authority } from '../../../pki/authority.ts';
import { base64url, sha256 } from '../../core/bytes.ts';
import type { MemberId } from '../../core/ids.ts';
import type { EarContent } from '../../device/ear.ts';
import type { Registry } from '../../registry/registry.ts';
import { checkDevices } from './devices.ts';
import { Report } from './finding.ts';

const NAME = 'gw.a11.tw.troad.example';
const MEMBER = 'TW/GOV/A11' as MemberId; // the test's own constant
const NOW = Date.now();
const authority = await Authority.create('TW test', () => NOW);
const https = await authority.issueServer();
const link = await authority.issueLink(NAME);
const verifier = new Verifier();
const { issuer, kid } = verifier.signer;
const LEAST = { tpm: 'affirming', health: 'warning', residency: 'bound' } as const;

interface Change {
  readonly changes?: Partial<EarContent>;
  readonly agent?: 'none' | 'silent' | 'running';
  readonly device?: object | 'none';
  readonly attested?: boolean;
  readonly feed?: string;
  readonly listed?: boolean;
}

async function findings(
  t: Test,
  {
    changes = {},
    agent = 'running',
    device = { node: LEAST, endpoint: LEAST },
    attested = true,
    feed,
    listed = true,
  }: Change,
) {
  const dir = t.testdir({ agencies: { a11: { 'https.pem': https.chainPem, 'https.key': https.keyPem } } });
  writeFileSync(join(dir, 'link.pem'), link.chainPem);
  writeFileSync(join(dir, 'ca.pem'), authority.rootPem);
  const server = await RevocationServer.start({ dir }, verifier.revocations([]));
  // A path of a Unix socket is short.
  const run = mkdtempSync(join(tmpdir(), 'troad-'));
  const socket = join(run, 'agent.sock');
  const result = token({
    issuedAt: Math.floor(NOW / 1000),
    expiresAt: Math.floor(NOW / 1000) + 100,
    class: 'node',
    gateway: NAME,
    audience: 'TW',
    certificate: base64url(sha256(link.der)),
    ...changes,
  });
  const own = createServer((_, response) => void response.end(JSON.stringify({ result, run: 'x' })));
  if (agent === 'running') await new Promise<void>((resolve) => own.listen(socket, resolve));
  t.teardown(async () => {
    own.closeAllConnections();
    own.close();
    rmSync(run, { recursive: true, force: true });
    await server.stop();
  });
  const publicKey = verifier.publicKey;
  const row = {
    ...verifier.row({ members: [MEMBER] }),
    ...(listed ? { revocations: { url: feed ?? server.url } } : {}),
  };
  const registry: Pick<Registry, 'attestors' | 'attestorKeys'> & { readonly document: object } = {
    attestors: attested ? [{ issuer, keys: [], revocationKeys: [{ issuer, kid, publicKey }], row }] : [],
    attestorKeys: () => KEYS,
    document: {
      agreements: [
        { id: 'ours', consumer: 'TW/GOV/A11/welfare', service: 'TW/GOV/B07/housing/echo', device },
        {
          id: 'theirs',
          consumer: 'TW/GOV/C01/x',
          service: 'TW/GOV/B07/housing/echo',
          device: { node: LEAST },
        },
      ],
    },
  };
  const report = new Report();
  await checkDevices(
    report,
    {
      node: { name: NAME, member: MEMBER, instance: 'TW' },
      link: { cert: join(dir, 'link.pem') } as never, // nothing else of it is read
      devices: {
        ...(agent === 'none' ? {} : { agent: socket }),
        ca: join(dir, 'ca.pem'),
        retryMs: 1,
        feedSilenceMs: 1,
      },
    },
    registry as unknown as Registry, // nothing else of it is asked for
    NOW,
  );
  return report.findings.map(({ level, subject, what }) => `${level} ${subject}: ${what}`);
}

void t.test('all is well', async (t) => {
  const found = await findings(t, {});
  t.match(found, [
    /^ok attested machines: demanded by ours$/,
    /^ok attested hosts: demanded by ours$/,
    /^ok device agent: attest\.tw\.troad\.example vouches for this host for 100 s more$/,
    /^ok revocations of machines: attest\.lab\.example: list \d+, 0 machines, signed \d s ago$/,
  ]);
});

const rows: readonly (readonly [what: string, change: Change, finding: RegExp])[] = [
  ['no service attests what is demanded', { attested: false }, /^bad attested hosts: .*no service/],
  ['no agent where hosts are demanded', { agent: 'none' }, /^warn device agent: none is configured.* ours$/],
  ['an agent that does not run', { agent: 'silent' }, /^bad device agent: .*agent\.sock: (?:there is no such socket|nobody listens there)/],
  ['a result that is over', { changes: { issuedAt: 1000, expiresAt: 1100 } }, /^bad device agent: .*that is over/],
  ['the host of another gateway', { changes: { gateway: 'gw.b07' } }, /^bad device agent: .*as the host of gw\.b07/],
  ['an endpoint', { changes: { class: 'endpoint', gateway: undefined } }, /^bad device agent: .*as the host of no gateway/],
  ['a result for one gateway alone', { changes: { audience: 'gw.b07' } }, /^bad device agent: .*for gw\.b07/],
  ['another certificate', { changes: { certificate: CONTENT.certificate } }, /^bad device agent: .*for another certificate/],
  ['a software TPM', { changes: { softwareTpm: true } }, /^warn software TPM: .*laboratories only/],
  ['a service that cannot be asked', { feed: 'https://localhost:9' }, /^warn revocations of machines: .*localhost:9/],
  ['a service without a list', { listed: false }, /^warn revocations of machines: .*after 300 s at most/],
]; // prettier-ignore
for (const [what, change, finding] of rows) {
  void t.test(`finds ${what}`, async (t) => {
    const found = await findings(t, change);
    t.ok(found.some((each) => finding.test(each)), found.join('\n')); // prettier-ignore
  });
}

void t.test('where nothing is demanded nothing is missed', async (t) => {
  t.strictSame(await findings(t, { device: 'none', agent: 'none', attested: false }), []);
});
