/** What an exchange of short messages with a user, between attested hosts, leaves in one gateway's log. */
import { randomBytes } from 'node:crypto';
import { newExchangeId } from '../../gateway/core/ids.ts';
import { KnownFacts } from '../../gateway/evidence/exchange-facts.ts';
import type { EvidenceLog } from '../../gateway/evidence/log.ts';
import { formatMeta } from '../../gateway/evidence/meta-part.ts';
import type { UserFacts } from '../../gateway/evidence/record.ts';
import { clock } from '../../gateway/node/clock.ts';

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
const usr: UserFacts = {
  ...{ iss: 'https://idp.a11.tw.troad.example', ial: 2, aal: 2, fal: 1, acr: 'urn:troad:aal2' },
  ...{ amr: ['swk', 'pin', 'user', 'mfa'], at: 1_795_350_907, by: 'certificate', once: [] },
};
const subject = 's'.repeat(710);
const device = JSON.stringify({ node: 'e'.repeat(1900) });
const signature = randomBytes(320).toString('base64');

/** Two records with their parts. Resolves when both are on disk. */
export async function appendExchange(log: EvidenceLog): Promise<void> {
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
    usr,
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
  const line = `"@method": POST\n"x": ${id}\n`;
  const asked = Buffer.from(`${line.repeat(13)}"t-road-user": ${subject}\n${line.repeat(12)}`).toString(
    'latin1',
  );
  const answered = Buffer.from(line.repeat(30)).toString('latin1');
  const own = {
    out: 'ok',
    mode: 'full',
    sig: signature,
    kid: `${A}#${hash}`,
    len: 1024,
    dg: `sha-256:${hash}=`,
  } as const;
  const input = Buffer.alloc(1900, id);
  const meta = formatMeta(target, asked, subject);
  await log.append(facts.record('req.final', clock.now(), own), { meta, input, subject, device });
  await log.append(facts.record('res.final', clock.now(), { ...own, status: 200 }), {
    meta: formatMeta(target, answered),
  });
}
