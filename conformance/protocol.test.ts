import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { base64url, fromBase64, sha256 } from '../gateway/core/bytes.ts';
import { verifyBase } from '../gateway/httpsig/algorithm.ts';

/** The example of docs/protocol.md, taken from its text. */
const text = readFileSync(new URL('../docs/protocol.md', import.meta.url), 'utf8');
const example = text.slice(
  text.indexOf('## An exchange, byte for byte'),
  text.indexOf('## For X-Road clients'),
);
const base = [...example.matchAll(/^ {4}("@?[\w-]+": .*)$/gm)].map(([, line = '']) => line).join('\n');
const spki = fromBase64(/`(MCow[\w+/=]+)`/.exec(example)?.[1] ?? '');
const signature = fromBase64(/final=:([\w+/=]+):/.exec(example)?.[1] ?? '');

void t.test('the example of the protocol document verifies', async (t) => {
  if (spki === undefined || signature === undefined)
    throw new Error('the example has lost its key or signature');
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  t.ok(verifyBase('ed25519', key, base, signature));
  t.notOk(verifyBase('ed25519', key, `${base} `, signature));
  t.match(base, `#${base64url(sha256(spki))}"`, 'and its key id is that of the key');
});
