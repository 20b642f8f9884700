import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Authority } from '../../pki/authority.ts';
import { readAuthorities, readIdentity, readPrivateKey, readPublicPem } from './key-files.ts';

const authority = await Authority.create('TW test', Date.now);
const one = await authority.issueLink('gw.a11.tw.troad.example');
const other = await authority.issueLink('gw.b07.tw.troad.example');
const root = authority.rootPem;
const damaged = root.replace(/\n.{20}/, `\n${'A'.repeat(20)}`);

void t.test('keys and certificates of the configuration', async (t) => {
  const dir = t.testdir({
    'link.pem': one.chainPem,
    'link.key': one.keyPem,
    'other.key': other.keyPem,
    'ca.pem': root,
    'damaged.pem': damaged,
    'text.pem': 'hello',
    'both.pem': root + one.keyPem,
    folder: {},
  });
  const at = (name: string): string => join(dir, name);
  t.equal(readAuthorities('/link/ca', at('ca.pem')).toString(), root);
  const { cert, key } = readIdentity('/link', { cert: at('link.pem'), key: at('link.key') });
  t.strictSame([cert.toString(), key.toString()], [one.chainPem, one.keyPem]);
  const publicKey = one.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  writeFileSync(at('public.pem'), publicKey);
  t.equal(readPublicPem('/policy/signers', at('public.pem')), publicKey);

  const link = (certName: string, keyName: string) => (): unknown =>
    readIdentity('/link', { cert: at(certName), key: at(keyName) });
  const wrong: readonly (readonly [read: () => unknown, says: string])[] = [
    [link('link.pem', 'other.key'), `/link/key: ${at('other.key')}: is not the key of ${at('link.pem')}`],
    [link('link.pem', 'gone.key'), `/link/key: ${at('gone.key')}: there is no such file`],
    [link('link.pem', 'ca.pem'), `/link/key: ${at('ca.pem')}: expected a private key, found CERTIFICATE`],
    [link('text.pem', 'link.key'), `/link/cert: ${at('text.pem')}: holds no certificate in PEM`],
    [link('folder', 'link.key'), `/link/cert: ${at('folder')}: is a folder`],
    [() => readAuthorities('/link/ca', at('text.pem')), `/link/ca: ${at('text.pem')}: holds no certificate`],
    [
      () => readAuthorities('/link/ca', at('damaged.pem')),
      `${at('damaged.pem')}: a certificate in it is damaged`,
    ],
    [() => readAuthorities('/link/ca', at('both.pem')), `${at('both.pem')}: PEM: expected CERTIFICATE`],
    [
      () => readPrivateKey('/keys/log', at('public.pem')),
      `/keys/log: ${at('public.pem')}: expected a private key`,
    ],
  ];
  for (const [read, says] of wrong) t.throws(read, { name: 'ConfigError', message: says }, says);
});
