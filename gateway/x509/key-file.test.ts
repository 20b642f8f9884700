import { generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { parsePrivateKey, parsePublicKey } from './key-file.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const own = Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' }));
const shown = Buffer.from(publicKey.export({ type: 'spki', format: 'pem' }));
const sealed = Buffer.from(
  privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }),
);

void t.test('keys in PEM', async (t) => {
  t.ok(parsePrivateKey(own).equals(privateKey));
  t.ok(parsePublicKey(shown).equals(publicKey));
});

const wrong: readonly (readonly [what: string, read: (pem: Buffer) => unknown, pem: Buffer, says: RegExp])[] =
  [
    ['a public key for a private one', parsePrivateKey, shown, /expected a private key, found PUBLIC KEY/],
    ['a private key for a public one', parsePublicKey, own, /expected a public key, found PRIVATE KEY/],
    ['an encrypted key', parsePrivateKey, sealed, /is encrypted: decrypt it/],
    [
      'a damaged key',
      parsePrivateKey,
      Buffer.from(own.toString().replace(/MC/, 'M')),
      /private key in it is damaged/,
    ],
    ['text', parsePrivateKey, Buffer.from('hello'), /holds no private key in PEM/],
    ['nothing', parsePublicKey, Buffer.alloc(0), /holds no public key in PEM/],
  ];
for (const [what, read, pem, says] of wrong)
  void t.test(`refuses ${what}`, async (t) => {
    t.throws(() => read(pem), { name: 'MalformedBytes', message: says });
  });
