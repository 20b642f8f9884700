import { createHash, createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { base64url, fromBase64, sha256 } from '../gateway/core/bytes.ts';
import { verifyBase } from '../gateway/httpsig/algorithm.ts';
import { BATCH_ALG } from '../gateway/message/batch.ts';
import { isMessageSigned, VerifiedBatches } from '../gateway/message/message-signature.ts';
import { twinOf } from './builders/ecdsa-twin.ts';

/** The example of docs/protocol.md, taken from its text. */
const text = readFileSync(new URL('../docs/protocol.md', import.meta.url), 'utf8');
const example = text.slice(
  text.indexOf('## An exchange, byte for byte'),
  text.indexOf('## For X-Road clients'),
);
const [alone = '', together = ''] = example.split('The same message');
const linesOf = (part: string): string[] =>
  [...part.matchAll(/^ {4}("@?[\w-]+": .*)$/gm)].map(([, line = '']) => line);
const base = linesOf(alone).join('\n');
const spki = fromBase64(/`(MCow[\w+/=]+)`/.exec(alone)?.[1] ?? '');
const signatureIn = (part: string): Buffer =>
  fromBase64(/final=:([\w+/=]+):/.exec(part)?.[1] ?? '') ?? Buffer.alloc(0);
const signature = signatureIn(alone);
if (spki === undefined) throw new Error('the example has lost its key');
const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });

void t.test('the example of the protocol document verifies', async (t) => {
  t.ok(verifyBase('ed25519', publicKey, base, signature));
  t.notOk(verifyBase('ed25519', publicKey, `${base} `, signature));
  t.match(base, `#${base64url(sha256(spki))}"`, 'and its key id is that of the key');
});

void t.test('so does the one on P-256, r and s side by side, s the lower of two', async (t) => {
  const [, kid = ''] = /`(gw\.a11[^`]+#[\w-]{43})`/.exec(alone) ?? [];
  const der = fromBase64(/`(MFkw[\w+/=]+)`/.exec(alone)?.[1] ?? '');
  if (der === undefined) throw new Error('the example has lost its second key');
  t.equal(kid, `gw.a11.tw.troad.example#${base64url(sha256(der))}`);
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
  const value = signatureIn(alone.slice(alone.indexOf(kid)));
  const other = base.replace(/keyid="[^"]+"/, `keyid="${kid}"`);
  t.ok(verifyBase('ecdsa-p256-sha256', key, other, value));
  t.notOk(verifyBase('ecdsa-p256-sha256', key, base, value), 'the id is signed');
  // And without any code of ours.
  t.ok(verify('sha256', Buffer.from(other), { key, dsaEncoding: 'ieee-p1363' }, value));
  t.notOk(verifyBase('ecdsa-p256-sha256', key, other, twinOf(value)));
});

void t.test('the same message in a batch verifies, and is what the table says', async (t) => {
  const inBatch = [...linesOf(base.replaceAll(/^/gm, '    ')).slice(0, -1), ...linesOf(together)].join('\n');
  const value = signatureIn(together);
  const key = { algorithm: 'ed25519', publicKey } as const;
  t.equal(inBatch, base.replace(';keyid=', ';alg="troad-batch";keyid='));
  t.ok(isMessageSigned(inBatch, BATCH_ALG, key, value, new VerifiedBatches()));
  t.notOk(isMessageSigned(base, BATCH_ALG, key, value, new VerifiedBatches()));
  const rows = [...together.matchAll(/^\| (\d+) \| .* \| `([0-9a-f]+)` \|$/gm)];
  t.equal(rows.map(([, , bytes]) => bytes).join(''), value.toString('hex'));
  for (const [, length, bytes = ''] of rows) t.equal(bytes.length, 2 * Number(length));

  // By hand, without any code of ours: RFC 6962's hashes, and the signature over what the text says is signed.
  const [, , left, right, rootSignature] = rows.map(([, , bytes = '']) => Buffer.from(bytes, 'hex'));
  if (!left || !right || !rootSignature) throw new Error('the table has lost a row');
  const hash = (...parts: Buffer[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();
  const leaf = hash(Buffer.of(0), Buffer.from(inBatch));
  t.match(together, `\`${leaf.toString('hex')}\``);
  const root = hash(Buffer.of(1), hash(Buffer.of(1), left, leaf), right);
  t.match(together, `Root: \`${root.toString('hex')}\``);
  const signed = Buffer.from(/^ {4}(00[0-9a-f]+)$/m.exec(together)?.[1] ?? '', 'hex');
  t.same(signed, Buffer.concat([Buffer.of(0), Buffer.from(`troad-batch\n3\n${root.toString('base64')}\n`)]));
  t.ok(verify(null, signed, publicKey, rootSignature));
});
