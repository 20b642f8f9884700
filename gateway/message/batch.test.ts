import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { twinOf } from '../../conformance/builders/ecdsa-twin.ts';
import { base64, utf8 } from '../core/bytes.ts';
import { signBase, verifyBase, type AlgorithmName } from '../httpsig/algorithm.ts';
import { signCheckpoint } from '../tlog/checkpoint.ts';
import { Frontier } from '../tlog/frontier.ts';
import { hashBytes, leafHashOfText, leafTextOf, nodeHash } from '../tlog/hash.ts';
import { noteSigner } from '../tlog/note.ts';
import { verifyInclusion } from '../tlog/proof.ts';
import { BATCH_ALG, BatchSignature, BatchTree, MAX_BATCH, rootText } from './batch.ts';
import { isMessageSigned, VerifiedBatches, type MessageKey } from './message-signature.ts';
import { signText, type SignedText } from './signing-fixture.ts';
import { SigningQueue, type Pace } from './signing-queue.ts';

const pairs = {
  ed25519: generateKeyPairSync('ed25519'),
  'ecdsa-p256-sha256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'rsa-pss-sha512': generateKeyPairSync('rsa', { modulusLength: 2048 }),
} as const;
const { publicKey, privateKey } = pairs.ed25519;
const key: MessageKey = { algorithm: 'ed25519', publicKey };

const PACES = { soon: setImmediate, record: setImmediate };
const queueOf = (algorithm: keyof typeof pairs): SigningQueue =>
  new SigningQueue({ kid: 'k', algorithm, privateKey: pairs[algorithm].privateKey }, PACES);

/** As messages state it: the text says in which form it is signed. */
const textOf = (text: string, alg: string | undefined): string =>
  `"@path": ${text}\n"@signature-params": ("@path")${alg === undefined ? '' : `;alg="${alg}"`}`;
const algOf = ({ base }: SignedText): string | undefined => (base.includes(';alg=') ? BATCH_ALG : undefined);
const bytesOf = ({ value }: SignedText): Buffer => Buffer.from(value, 'base64');

/** All at once, so as one batch. */
const signAll = (texts: readonly string[], queue = queueOf('ed25519')): Promise<SignedText[]> =>
  Promise.all(texts.map((text) => signText(queue, (alg) => textOf(text, alg))));

const isGood = (base: string, signature: Uint8Array, batches = new VerifiedBatches()): boolean =>
  isMessageSigned(base, BATCH_ALG, key, signature, batches);

/** What a verifier makes of it: false and a throw are both a refusal. */
function accepts(base: string, signature: Uint8Array, batches = new VerifiedBatches()): boolean {
  try {
    return isGood(base, signature, batches);
  } catch (cause) {
    if (cause instanceof Error && cause.name === 'MalformedBytes') return false;
    throw cause;
  }
}

const numbered = (count: number, name = 'm'): string[] =>
  Array.from({ length: count }, (_, i) => `/${name}/${i}`);

void t.test(
  'whatever is signed together verifies alone, under every algorithm, and once per batch',
  async (t) => {
    for (const algorithm of Object.keys(pairs) as (keyof typeof pairs)[]) {
      const queue = queueOf(algorithm);
      for (const count of [2, 3, 5, 8, 33]) {
        const signed = await signAll(numbered(count), queue);
        let verified = 0;
        const counting: typeof verifyBase = (...args) => ((verified += 1), verifyBase(...args));
        const shared = new VerifiedBatches(10, counting);
        const good = (one: SignedText, batches: VerifiedBatches): boolean =>
          isMessageSigned(
            one.base,
            algOf(one),
            { algorithm, publicKey: pairs[algorithm].publicKey },
            bytesOf(one),
            batches,
          );
        t.ok(
          signed.every((one) => good(one, new VerifiedBatches())),
          `${algorithm}: ${count}, each alone`,
        );
        t.ok(
          signed.every((one) => good(one, shared)),
          `${algorithm}: ${count}, one after the other`,
        );
        t.equal(verified, 1);
      }
    }
  },
);

void t.test('any messages in any order make the tree of RFC 6962', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.string(), { minLength: 2, maxLength: 70 }), async (texts) => {
      const signed = await signAll(texts);
      const tree = new Frontier();
      for (const { base } of signed) tree.append(leafTextOf(base));
      const shared = new VerifiedBatches();
      return signed.every((one, n) => {
        const { size, index, path } = new BatchSignature(bytesOf(one));
        verifyInclusion(leafHashOfText(one.base), BigInt(index), BigInt(size), path, tree.root());
        return size === texts.length && index === n && isGood(one.base, bytesOf(one), shared);
      });
    }),
    { numRuns: 60 },
  );
});

void t.test(
  'one flipped bit, of the signature or of the text, is refused, also when the batch is known',
  async () => {
    const signed = await signAll(numbered(13));
    const known = new VerifiedBatches();
    for (const one of signed) isGood(one.base, bytesOf(one), known);
    fc.assert(
      fc.property(fc.nat(12), fc.nat(), fc.nat(7), fc.boolean(), (which, where, bit, inText) => {
        const one = signed[which] as SignedText;
        const signature = bytesOf(one);
        const text = Buffer.from(one.base);
        const bytes = inText ? text : signature;
        const at = where % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        const base = text.toString('latin1');
        return !accepts(base, signature) && !accepts(base, signature, known);
      }),
      { numRuns: 1000 },
    );
  },
);

/** A batch signature, and what can be made of it: every hash of the path changed, left out, doubled; another place; cut. */
function* variantsOf(signature: Buffer): Generator<Buffer> {
  yield signature;
  const hashes = new BatchSignature(signature).path.length;
  for (let at = 4; at < 4 + 32 * hashes; at += 32) {
    const [head, hash, rest] = [
      signature.subarray(0, at),
      signature.subarray(at, at + 32),
      signature.subarray(at + 32),
    ];
    yield Buffer.concat([head, Buffer.alloc(32), rest]);
    yield Buffer.concat([head, rest]);
    yield Buffer.concat([head, hash, hash, rest]);
    yield Buffer.concat([head, rest.subarray(0, 32), hash, rest.subarray(32)]);
  }
  for (const place of [1, 3]) {
    const moved = Buffer.from(signature);
    moved[place] = (moved[place] ?? 0) ^ 1;
    yield moved;
  }
  const signedElse = Buffer.from(signature);
  signedElse[signedElse.length - 1] = (signedElse.at(-1) ?? 0) ^ 1;
  yield signedElse;
  yield signature.subarray(0, -1);
  yield Buffer.concat([signature, Buffer.of(0)]);
}

void t.test('who comes behind another of the batch is judged as who comes alone', async (t) => {
  for (const size of [2, 3, 4, 5, 7, 8, 13, 16, 17, 21]) {
    const signed = await signAll(numbered(size));
    const [first] = signed;
    if (first === undefined) throw new Error('unreachable');
    const honest = new BatchSignature(bytesOf(first));
    const text = rootText(size, hashBytes(honest.rootOf(leafTextOf(first.base))));
    // As good as the key, and quick enough to be asked for every pair.
    let asked = 0;
    const isSigned: typeof verifyBase = (_algorithm, _key, base, signature) => {
      asked += 1;
      return base === text && Buffer.from(signature).equals(honest.rootSignature);
    };
    const wrong: string[] = [];
    let known = 0;
    for (const [one, { base, value }] of signed.entries()) {
      for (const [number, variant] of [...variantsOf(Buffer.from(value, 'base64'))].entries()) {
        const alone = accepts(base, variant, new VerifiedBatches(8, isSigned));
        if (alone !== (number === 0)) wrong.push(`${one}, variant ${number}, alone`);
        for (const [other, before] of signed.entries()) {
          const batches = new VerifiedBatches(8, isSigned);
          accepts(before.base, bytesOf(before), batches);
          asked = 0;
          if (accepts(base, variant, batches) !== alone)
            wrong.push(`${one}, variant ${number}, behind ${other}`);
          if (number === 0 && asked === 0) known += 1;
        }
      }
    }
    t.same(wrong, [], `${size} together`);
    t.equal(known, size * size, 'and the root is not asked for again');
  }
});

void t.test('what is no batch signature is refused', async (t) => {
  const [first, second, third, fourth, fifth] = await signAll(numbered(5));
  const [stranger] = await signAll(numbered(5, 'other'));
  if (!first || !second || !third || !fourth || !fifth || !stranger) throw new Error('unreachable');
  const good = bytesOf(first);
  const place = (size: number, index: number, rest = good.subarray(4)): Buffer =>
    Buffer.concat([Buffer.of(size >> 8, size & 255, index >> 8, index & 255), rest]);
  const root = good.subarray(-64);
  const own = new BatchSignature(good);
  const foreign = new BatchSignature(bytesOf(stranger));
  const withPath = (path: readonly Uint8Array[]): Buffer => place(5, 0, Buffer.concat([...path, root]));
  const plain = signBase('ed25519', privateKey, first.base);
  const rows: readonly [string, Uint8Array][] = [
    ['nothing', Buffer.alloc(0)],
    ['three bytes', good.subarray(0, 3)],
    ['size 0', place(0, 0)],
    ['size 1: a batch of one is a plain signature', place(1, 0, root)],
    ['size 1 with a plain signature', place(1, 0, Buffer.from(plain))],
    ['a size nobody makes', place(MAX_BATCH + 1, 0)],
    ['a huge size', place(65_535, 0)],
    ['an index behind the end', place(5, 5)],
    ['an index far behind the end', place(5, 65_535)],
    ['another index', place(5, 1)],
    ['the index of the last, whose path is shorter', place(5, 4)],
    ['another size with paths of the same length', place(6, 0)],
    ['a smaller size', place(4, 0)],
    ['the other end of the byte order', Buffer.concat([Buffer.of(5, 0, 0, 0), good.subarray(4)])],
    ['no signature', good.subarray(0, -64)],
    ['a signature cut short', good.subarray(0, -1)],
    ['a byte behind the end', Buffer.concat([good, Buffer.of(0)])],
    ['a hash too many', withPath([...own.path, Buffer.alloc(32)])],
    ['a hash too few', withPath(own.path.slice(1))],
    ['siblings in another order', withPath(own.path.toReversed())],
    ['the path of another tree', withPath(foreign.path)],
    ['a path to the root of another tree', Buffer.concat([bytesOf(stranger)])],
    ['the root signature of another tree', Buffer.concat([good.subarray(0, -64), foreign.rootSignature])],
    ['the place of another message', bytesOf(second)],
    ['a plain signature over the same text', plain],
    ['a plain signature behind a good path', Buffer.concat([good.subarray(0, -64), plain])],
  ];
  const known = new VerifiedBatches();
  t.ok(accepts(first.base, good, known));
  for (const [what, signature] of rows) {
    t.notOk(accepts(first.base, signature), what);
    t.notOk(accepts(first.base, signature, known), `${what}, the batch is known`);
  }
});

void t.test('signatures of one kind cannot be taken for another kind', async (t) => {
  const signed = await signAll(numbered(4));
  const [first] = signed;
  if (first === undefined) throw new Error('unreachable');
  const batch = new BatchSignature(bytesOf(first));
  const root = hashBytes(batch.rootOf(leafTextOf(first.base)));
  const text = rootText(4, root);
  const verifyPlain = (base: string, signature: Uint8Array): boolean =>
    isMessageSigned(base, undefined, key, signature, new VerifiedBatches());

  t.ok(verify(null, utf8(text), publicKey, batch.rootSignature), 'the root text is what is signed');
  t.notOk(verifyPlain(first.base, batch.rootSignature), 'a root signature is no message signature');
  t.notOk(verifyPlain(first.base, bytesOf(first)), 'nor is a batch signature');
  t.notOk(text.startsWith('"'), 'and no signature base can read like a root text');
  t.equal(text.charCodeAt(0), 0);
  t.notOk(
    isMessageSigned(
      first.base,
      'ed25519',
      key,
      signBase('ed25519', privateKey, first.base),
      new VerifiedBatches(),
    ),
    'no other alg means anything',
  );

  // A log's checkpoint over the very same tree, signed with the very same key.
  const signer = noteSigner('troad-batch', privateKey);
  const note = signCheckpoint({ origin: 'troad-batch', size: 4n, root }, signer);
  const noteSignature = Buffer.from(note.trimEnd().split(' ').at(-1) ?? '', 'base64').subarray(4);
  t.ok(verify(null, utf8(`troad-batch\n4\n${base64(root)}\n`), publicKey, noteSignature));
  const forged = Buffer.concat([bytesOf(first).subarray(0, -64), noteSignature]);
  t.notOk(accepts(first.base, forged), 'a checkpoint is no root of a batch');

  // RFC 6962 §2.1: a node is not a leaf. The "message" whose text is two hashes, in the half-sized tree.
  const [a, b, c, d] = signed.map(({ base }) => leafHashOfText(base));
  if (!a || !b || !c || !d) throw new Error('unreachable');
  t.same(nodeHash(nodeHash(a, b), nodeHash(c, d)), root);
  const half = Buffer.concat([
    Buffer.of(0, 2, 0, 0),
    nodeHash(c, d),
    sign(null, utf8(rootText(2, root)), privateKey),
  ]);
  for (const prefix of ['', '\u0001']) {
    const node = prefix + Buffer.concat([a, b]).toString('latin1');
    t.notOk(accepts(node, half), 'a node taken for a leaf, even under a root signature for that size');
  }
  const whole = Buffer.concat([Buffer.of(0, 2, 0, 0), nodeHash(c, d), batch.rootSignature]);
  t.notOk(accepts(first.base, whole), 'the size is signed');
});

void t.test('known batches: bounded, and bound to the key object', async (t) => {
  let verified = 0;
  const counting: typeof verifyBase = (...args) => ((verified += 1), verifyBase(...args));
  const batches = new VerifiedBatches(2, counting);
  const lists = [];
  for (const name of ['a', 'b', 'c']) lists.push(await signAll(numbered(2, name)));
  const look = (list: readonly SignedText[] | undefined): boolean =>
    list?.every((one) => isGood(one.base, bytesOf(one), batches)) === true;
  t.ok(look(lists[0]) && look(lists[1]) && look(lists[0]));
  t.equal(verified, 2);
  t.ok(look(lists[2]) && look(lists[0]), 'the oldest was forgotten, and is verified again');
  t.equal(verified, 4);

  const [one] = lists[0] ?? [];
  if (one === undefined) throw new Error('unreachable');
  const another = generateKeyPairSync('ed25519').publicKey;
  const under = (candidate: typeof another): boolean =>
    isMessageSigned(
      one.base,
      BATCH_ALG,
      { algorithm: 'ed25519', publicKey: candidate },
      bytesOf(one),
      batches,
    );
  t.notOk(under(another), 'another key under the same name is asked itself');
  const again = createPublicKey(createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' })));
  t.ok(under(again), 'the same key read again is');
  const bad = bytesOf(one);
  bad[bad.length - 1] = (bad.at(-1) ?? 0) ^ 1;
  const before = verified;
  t.notOk(accepts(one.base, bad, batches) || accepts(one.base, bad, batches));
  t.equal(verified, before + 2, 'what failed is not remembered');
});

void t.test('the queue: alone plain and at once, together a batch, each with its own fate', async (t) => {
  const served: number[] = [];
  const queue = new SigningQueue({ kid: 'k', algorithm: 'ed25519', privateKey }, PACES, (messages) => {
    served.push(messages);
  });
  const [alone] = await signAll(['/alone'], queue);
  t.notMatch(alone?.base, /alg/);
  t.ok(verifyBase('ed25519', publicKey, alone?.base ?? '', bytesOf(alone as SignedText)));
  t.equal(bytesOf(alone as SignedText).length, 64);

  const broken = (): never => {
    throw new TypeError('cannot be said');
  };
  const [good, bad, other] = await Promise.allSettled([
    signText(queue, (alg) => textOf('/1', alg)),
    signText(queue, broken),
    signText(queue, (alg) => textOf('/2', alg)),
  ]);
  t.equal(bad.status, 'rejected');
  for (const one of [good, other]) {
    if (one.status !== 'fulfilled') throw new Error('the neighbour of a bad message was not signed');
    t.ok(isGood(one.value.base, bytesOf(one.value)));
  }
  const [left] = await Promise.allSettled([
    signText(queue, (alg) => textOf('/3', alg)),
    signText(queue, broken),
  ]);
  t.match(
    left,
    { status: 'fulfilled', value: { base: /^(?!.*alg)/s } },
    'what is left of a batch of one is plain',
  );

  const many = await signAll(numbered(MAX_BATCH + 1), queue);
  t.equal(new BatchSignature(bytesOf(many[0] as SignedText)).size, MAX_BATCH);
  t.notMatch(many.at(-1)?.base, /alg/, 'a batch has an upper bound');
  t.same(served, [1, 2, 1, MAX_BATCH, 1], 'and says what each signature serves');
  t.ok(isGood(many[700]?.base ?? '', bytesOf(many[700] as SignedText)));

  const mismatch: AlgorithmName = 'ecdsa-p256-sha256';
  const wrong = new SigningQueue({ kid: 'k', algorithm: mismatch, privateKey }, PACES);
  const fates = await Promise.allSettled([signText(wrong, () => 'x'), signText(wrong, () => 'y')]);
  t.match(fates, [{ status: 'rejected' }, { status: 'rejected' }], 'a key that does not work hangs nobody');
});

void t.test('a batch closes with what is there, and what comes later is in the next', async (t) => {
  const asked: { readonly soon: (() => void)[]; readonly record: (() => void)[] } = { soon: [], record: [] };
  const queue = new SigningQueue(
    { kid: 'k', algorithm: 'ed25519', privateKey },
    { soon: (close) => asked.soon.push(close), record: (close) => asked.record.push(close) },
  );
  const signEach = (texts: readonly string[], pace: Pace): Promise<SignedText>[] =>
    texts.map((text) => signText(queue, (alg) => textOf(text, alg), pace));
  const sizesOf = async (signed: Promise<SignedText>[]): Promise<number[]> =>
    (await Promise.all(signed)).map((one) => new BatchSignature(bytesOf(one)).size);

  const early = signEach(['/1', '/2'], 'record');
  t.match(asked, { soon: { length: 0 }, record: { length: 1 } }, 'asked for once a batch');
  asked.record.shift()?.();
  const late = signEach(['/3', '/4', '/5'], 'record');
  t.equal(asked.record.length, 1);
  asked.record.shift()?.();
  t.same(await sizesOf([...early, ...late]), [2, 2, 3, 3, 3]);

  // One that no record is written for does not wait for the log, and takes along what does.
  const patient = signEach(['/6', '/7'], 'record');
  const hurried = signEach(['/8'], 'soon');
  asked.soon.shift()?.();
  t.same(await sizesOf([...patient, ...hurried]), [3, 3, 3]);
  const next = signEach(['/9', '/10'], 'record');
  t.equal(asked.record.length, 1, 'the log was asked already');
  asked.record.shift()?.();
  t.same(await sizesOf(next), [2, 2]);
  const last = signEach(['/11'], 'soon');
  t.match(asked, { soon: { length: 1 }, record: { length: 0 } });
  asked.soon.shift()?.();
  await Promise.all(last);
});

void t.test('a tree is of two messages at least', async (t) => {
  t.throws(() => new BatchTree(['one']), RangeError);
  t.throws(() => new BatchTree([]), RangeError);
  t.throws(() => new BatchTree(numbered(MAX_BATCH + 1)), RangeError);
});

void t.test(
  'one root signed twice: either signature is good, and none is good because another is',
  async (t) => {
    const algorithm = 'ecdsa-p256-sha256'; // gives other bytes every time
    const pair = pairs[algorithm];
    const bases = numbered(6).map((text) => textOf(text, BATCH_ALG));
    const tree = new BatchTree(bases);
    const signatures = [1, 2].map(() => signBase(algorithm, pair.privateKey, tree.text));
    t.notSame(signatures[0], signatures[1]);
    let verified = 0;
    const counting: typeof verifyBase = (...args) => ((verified += 1), verifyBase(...args));
    const batches = new VerifiedBatches(10, counting);
    const good = (index: number, root: Uint8Array): boolean =>
      isMessageSigned(
        bases[index] ?? '',
        BATCH_ALG,
        { algorithm, publicKey: pair.publicKey },
        tree.signatureOf(index, root),
        batches,
      );
    for (const signature of signatures) for (let i = 0; i < 6; i++) t.ok(good(i, signature));
    t.equal(verified, 2, 'each once, one after the other');
    const bad = Buffer.from(signatures[1] ?? []);
    bad[10] = (bad[10] ?? 0) ^ 1;
    t.notOk(good(0, bad));
    t.notOk(good(0, bad.subarray(1)));
    t.notOk(good(0, twinOf(Buffer.from(signatures[1] ?? []))), 'M16: nor the other signature of its pair');
    t.ok(good(5, signatures[1] ?? bad));
    t.equal(verified, 5, 'what is not the same to the byte is verified itself');
  },
);
