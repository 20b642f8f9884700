/**
 * What the two records of an exchange cost one gateway: their text, sealed parts, tree and the write to the disk.
 *
 *     node conformance/bench/records.ts [together [rounds [exchanges]]]
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { newExchangeId } from '../../gateway/core/ids.ts';
import { KnownFacts } from '../../gateway/evidence/exchange-facts.ts';
import { openLog } from '../../gateway/evidence/log.ts';
import { formatMeta } from '../../gateway/evidence/meta-part.ts';
import { clock } from '../../gateway/node/clock.ts';
import { ON_DISK, temporaryFolder } from './leftovers.ts';
import { median } from './stats.ts';

const TOGETHER = Number(process.argv[2] ?? 32);
const ROUNDS = Number(process.argv[3] ?? 9);
const EXCHANGES = Number(process.argv[4] ?? 4000);

const A = 'gw.a11.tw.troad.example';
const B = 'gw.b07.tw.troad.example';
const hash = 'wqTJztue0lp5FJ6a2h0OTNK_01D1yyy85epFfoyllnE';
const tls = { v: 'TLSv1.3', suite: 'TLS_AES_256_GCM_SHA384', g: 'X25519MLKEM768', peer: hash };
const node = {
  r: hash,
  iss: 'attest.tw.troad.example',
  id: hash,
  tpm: 'affirming',
  health: 'affirming',
  by: 'bound',
};
const device = JSON.stringify({ node: 'e'.repeat(1900) });
const signature = randomBytes(320).toString('base64');

const dir = temporaryFolder(ON_DISK);
const log = await openLog({
  dir,
  origin: `${A}/troad-log/gw1/1`,
  signingKey: generateKeyPairSync('ed25519').privateKey,
  clock,
  random: randomBytes,
  software: 'bench',
  pid: process.pid,
});

async function exchange(): Promise<void> {
  const id = newExchangeId();
  const facts = new KnownFacts(id, 'c', A);
  facts.learn({
    xid: `TW-${id}`,
    client: 'TW/GOV/A11/welfare',
    svc: 'TW/GOV/B07/housing/echo',
    op: 'POST',
    peer: B,
  });
  facts.share({ tls, node });
  facts.learn({
    pol: {
      b: hash,
      e: 'troad/exchange/decision',
      i: hash,
      o: hash,
      allow: true,
      tier: 'low',
      score: 36,
      threshold: 10,
    },
  });
  const target = { path: '/r1/TW/GOV/B07/housing/echo', query: '' };
  const base = Buffer.from(`"@method": POST\n"x": ${id}\n`.repeat(30)).toString('latin1');
  const own = {
    out: 'ok',
    mode: 'full',
    sig: signature,
    kid: `${A}#${hash}`,
    len: 1024,
    dg: `sha-256:${hash}=`,
  } as const;
  const input = Buffer.alloc(1900, id);
  const meta = formatMeta(target, base);
  await log.append(facts.record('req.final', clock.now(), own), { meta, input, device });
  await log.append(facts.record('res.final', clock.now(), { ...own, status: 200 }), {
    meta: formatMeta(target, base),
  });
}

async function round(): Promise<number> {
  const before = process.cpuUsage();
  const client = async (): Promise<void> => {
    for (let done = 0; done < EXCHANGES; done += TOGETHER) await exchange();
  };
  await Promise.all(Array.from({ length: TOGETHER }, client));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / EXCHANGES;
}

await round();
const costs: number[] = [];
for (let i = 0; i < ROUNDS; i++) costs.push(await round());
process.stdout.write(
  `${TOGETHER} together: ${median(costs).toFixed(1)} µs of CPU an exchange (${Math.min(...costs).toFixed(1)} to ${Math.max(...costs).toFixed(1)})\n`,
);
await log.close();
