import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import fc from 'fast-check';
import { sha256, utf8 } from '../core/bytes.ts';
import { formatCheckpoint, openCheckpoint, parseCheckpoint, signCheckpoint } from './checkpoint.ts';
import { EMPTY_ROOT, leafHash, nodeHash } from './hash.ts';
import { noteSigner, openNote, parseVerifierKey, signNote, verifierKeyOf } from './note.ts';
import { formatTlogProof, parseTlogProof, verifyTlogProof } from './tlog-proof.ts';

const keyFrom = (seed: string) =>
  createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), sha256(seed)]),
    format: 'der',
    type: 'pkcs8',
  });

const origin = 'gw.a11.tw.troad.example/troad-log/gw1/1';
const signer = noteSigner(origin, keyFrom('log'));
const verifier = parseVerifierKey(signer.vkey);
const witness = noteSigner('witness.example', keyFrom('witness'));
const head = { origin, size: 20_852_163n, root: sha256('root') };
const note = signCheckpoint(head, signer);
const malformed = { name: 'MalformedBytes' };

void t.test('the example note of the format is accepted', async (t) => {
  // From the documentation of golang.org/x/mod/sumdb/note.
  const vkey = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
  const text =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
  const example = `${text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;
  t.equal(openNote(example, [parseVerifierKey(vkey)]).text, text);
  t.throws(() => openNote(example.replace('answer', 'Answer'), [parseVerifierKey(vkey)]), malformed);
});

void t.test('what we sign we accept, with and without cosignatures of others', async (t) => {
  t.same(openCheckpoint(note, [verifier]), head);
  const text = formatCheckpoint(head);
  const cosigned = signNote(text, [signer, witness]);
  t.same(openCheckpoint(cosigned, [verifier]), head, 'an unknown witness is passed over');
  t.equal(openNote(cosigned, [verifier, parseVerifierKey(witness.vkey)]).signedBy.length, 2);
  t.throws(
    () => openCheckpoint(signNote(text, [witness]), [parseVerifierKey(witness.vkey)]),
    malformed,
    'a witness is not the log',
  );
  t.throws(() => signCheckpoint({ ...head, origin: 'another' }, signer), TypeError);
});

void t.test('a checkpoint has one spelling', async (t) => {
  const root = head.root.toString('base64');
  t.same(parseCheckpoint(`${origin}\n0\n${EMPTY_ROOT.toString('base64')}\n`).size, 0n);
  t.same(parseCheckpoint(`${origin}\n9223372036854775807\n${root}\n`).size, 2n ** 63n - 1n);
  for (const [what, text] of [
    ['a leading zero', `${origin}\n013\n${root}\n`],
    ['a sign', `${origin}\n+13\n${root}\n`],
    ['a size of 2^63', `${origin}\n9223372036854775808\n${root}\n`],
    ['an exponent', `${origin}\n1e3\n${root}\n`],
    ['no final newline', `${origin}\n13\n${root}`],
    ['an extension line', `${origin}\n13\n${root}\nmore\n`],
    ['an empty line', `${origin}\n13\n${root}\n\n`],
    ['carriage returns', `${origin}\r\n13\r\n${root}\r\n`],
    ['base64 without padding', `${origin}\n13\n${root.replace('=', '')}\n`],
    ['base64url', `${origin}\n13\n${'_'.repeat(42)}8=\n`],
    ['loose last bits in base64', `${origin}\n13\n${root.slice(0, 42)}B=\n`],
    ['a short root', `${origin}\n13\n${head.root.subarray(1).toString('base64')}\n`],
    ['no origin', `\n13\n${root}\n`],
    ['nothing', ''],
  ] as const) {
    t.throws(() => parseCheckpoint(text), malformed, what);
  }
});

void t.test('notes with one thing wrong are refused', async (t) => {
  const [text = '', line = ''] = note.split('\n\n', 2);
  const rows: readonly (readonly [string, string])[] = [
    ['another size', note.replace('20852163', '20852164')],
    ['another origin in the text', note.replace(origin, origin.replace('gw1', 'gw2'))],
    ['no signature', `${text}\n\n`],
    ['the line twice', `${text}\n\n${line}${line}`],
    ['a hyphen for the dash', note.replace('—', '-')],
    ['two spaces', note.replace('— ', '—  ')],
    ['no newline at the end', note.slice(0, -1)],
    ['a second newline at the end', `${note}\n`],
    ['an extra blank line before the signature', `${text}\n\n\n${line}`],
    ['a control character', note.replace('20852163', '20852163\u0007')],
    ['a signature of 65 bytes', `${text}\n\n${lengthened(line)}`],
    ['101 signature lines', `${text}\n\n${line}${witness.sign(text).repeat(100)}`],
    ['a note of 70,000 characters', `${'a'.repeat(70_000)}\n\n${line}`],
    ['only a stranger’s signature', `${text}\n\n${witness.sign(`${text}\n`)}`],
    ['nothing', ''],
  ];
  for (const [what, changed] of rows) t.throws(() => openCheckpoint(changed, [verifier]), malformed, what);
  t.throws(() => openCheckpoint(note, []), malformed, 'no key at all');
});

void t.test('no single bit of a note can be changed', async (t) => {
  const bytes = utf8(note);
  for (let bit = 0; bit < bytes.length * 8; bit += 1) {
    const copy = Buffer.from(bytes);
    copy.writeUInt8((copy[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3);
    try {
      openCheckpoint(copy.toString('utf8'), [verifier]);
      t.fail(`bit ${bit}`);
    } catch (thrown) {
      if (!(thrown instanceof Error) || thrown.name !== 'MalformedBytes') throw thrown;
    }
  }
  t.pass(`${bytes.length * 8} changes refused`);
});

void t.test('verifier keys are read strictly', async (t) => {
  const { publicKey } = generateKeyPairSync('ed25519');
  t.equal(parseVerifierKey(verifierKeyOf('a', publicKey)).name, 'a');
  const [name = '', id = '', key = ''] = signer.vkey.split('+');
  const more = signer.vkey.slice(name.length + id.length + 2);
  for (const [what, vkey] of [
    ['a wrong id', `${name}+00000000+${more}`],
    ['another name with the same id', `x${name}+${id}+${more}`],
    ['upper-case hex', `${name}+${id.toUpperCase()}g+${more}`],
    ['no name', `+${id}+${more}`],
    ['a name with a space', `a b+${id}+${more}`],
    [
      'another signature type',
      `${name}+${id}+${Buffer.concat([Uint8Array.of(4), Buffer.alloc(32)]).toString('base64')}`,
    ],
    ['a short key', `${name}+${id}+${key.slice(0, 8)}`],
    ['nothing', ''],
  ] as const) {
    t.throws(() => parseVerifierKey(vkey), malformed, what);
  }
  t.throws(() => noteSigner('two words', keyFrom('x')), malformed);
  t.throws(() => noteSigner('a', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey), TypeError);
  t.throws(() => signNote('no newline', [signer]), malformed);
  t.throws(() => signNote('lone \ud800 surrogate\n', [signer]), malformed);
});

void t.test('a receipt proves its own entry', async (t) => {
  const [entry, other] = [utf8('{"v":1}'), utf8('{"v":2}')];
  const root = nodeHash(leafHash(other), leafHash(entry));
  const checkpoint = signCheckpoint({ origin, size: 2n, root }, signer);
  const proof = { extra: entry, index: 1n, path: [leafHash(other)], checkpoint };
  const text = formatTlogProof(proof);
  t.same(parseTlogProof(text), proof);
  t.same(verifyTlogProof(parseTlogProof(text), entry, [verifier]), { origin, size: 2n, root });
  t.throws(() => verifyTlogProof(proof, other, [verifier]), malformed);
  t.throws(() => verifyTlogProof({ ...proof, index: 0n }, entry, [verifier]), malformed);
  t.same(parseTlogProof(formatTlogProof({ index: 0n, path: [], checkpoint })), {
    index: 0n,
    path: [],
    checkpoint,
  });
  for (const [what, changed] of [
    ['a leading zero', text.replace('index 1', 'index 01')],
    ['another version', text.replace('@v1', '@v2')],
    ['no index', text.replace('index 1\n', '')],
    ['a line that is no hash', text.replace('index 1\n', 'index 1\nAAAA\n')],
    [
      '64 hashes',
      text.replace('index 1\n', `index 1\n${`${leafHash(other).toString('base64')}\n`.repeat(63)}`),
    ],
    ['loose base64 in extra', text.replace('extra ey', 'extra \tey')],
    ['no checkpoint', text.slice(0, text.indexOf('\n\n'))],
  ] as const) {
    t.throws(() => parseTlogProof(changed), malformed, what);
  }
});

void t.test('random text never does anything but refuse', async (t) => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .constantFrom(note, signer.vkey)
      .chain((good) =>
        fc
          .tuple(fc.nat(good.length), fc.nat(4), fc.string())
          .map(([at, cut, put]) => good.slice(0, at) + put + good.slice(at + cut)),
      ),
  );
  fc.assert(
    fc.property(text, (sample) => {
      for (const parse of [
        parseCheckpoint,
        parseVerifierKey,
        parseTlogProof,
        (x: string) => openNote(x, [verifier]),
      ]) {
        try {
          parse(sample);
        } catch (thrown) {
          if (!(thrown instanceof Error) || thrown.name !== 'MalformedBytes') throw thrown;
        }
      }
    }),
  );
  t.pass();
});

function lengthened(line: string): string {
  const [dash, name, value = ''] = line.trimEnd().split(' ');
  return `${dash} ${name} ${Buffer.concat([Buffer.from(value, 'base64'), Buffer.alloc(1)]).toString('base64')}\n`;
}
