import t from 'tap';
import fc from 'fast-check';
import { sha256, utf8 } from '../core/bytes.ts';
import { Frontier } from './frontier.ts';
import { EMPTY_ROOT, hashBytes, hashText, leafHash, leafTextInPlace, nodeHash } from './hash.ts';
import {
  makeConsistencyProof,
  makeInclusionProof,
  readRoot,
  verifyConsistency,
  verifyInclusion,
} from './proof.ts';
import { storedHashCount, storedHashIndex } from './stored.ts';

/** RFC 6962 §2.1 word for word: the slow definition that everything fast is compared with. */
function definedRoot(leaves: readonly Buffer[]): Buffer {
  const [only, ...more] = leaves;
  if (only === undefined) return EMPTY_ROOT;
  if (more.length === 0) return only;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(definedRoot(leaves.slice(0, k)), definedRoot(leaves.slice(k)));
}

const LARGEST = 1025;
const leaves = Array.from({ length: LARGEST }, (_, i) => leafHash(utf8(`entry ${i}`)));
const stored: Buffer[] = [];
const roots: Buffer[] = [EMPTY_ROOT];
const frontier = new Frontier();
for (const leaf of leaves) {
  frontier.append(hashText(leaf), (hash) => stored.push(hashBytes(hash)));
  roots.push(frontier.root());
}
const read = async (indices: readonly bigint[]): Promise<Buffer[]> =>
  indices.map((index) => stored[Number(index)] ?? Buffer.alloc(0));
const rootAt = (size: number): Buffer => roots[size] ?? Buffer.alloc(0);
const leafAt = (index: number): Buffer => leaves[index] ?? Buffer.alloc(0);

void t.test('a hash as a text and as bytes', async (t) => {
  for (const leaf of leaves.slice(0, 50)) t.same(hashBytes(hashText(leaf)), leaf);
  for (const bytes of [0, 31, 33]) t.throws(() => hashText(Buffer.alloc(bytes)), { name: 'RangeError' });
});

void t.test('known roots of RFC 6962 trees', async (t) => {
  // The eight leaves used by the tests of certificate-transparency implementations since RFC 6962.
  const inputs = [
    '',
    '00',
    '10',
    '2021',
    '3031',
    '40414243',
    '5051525354555657',
    '606162636465666768696a6b6c6d6e6f',
  ];
  const tree = new Frontier();
  t.equal(tree.root().toString('hex'), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  const expected = [
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ];
  for (const [i, input] of inputs.entries()) {
    tree.append(hashText(leafHash(Buffer.from(input, 'hex'))));
    t.equal(tree.root().toString('hex'), expected[i], `root of ${i + 1} leaves`);
  }
});

void t.test('a leaf cannot be passed off as a node', async (t) => {
  const [a, b] = [leafHash(utf8('a')), leafHash(utf8('b'))];
  t.notSame(leafHash(Buffer.concat([a, b])), nodeHash(a, b));
  t.same(hashBytes(leafTextInPlace(Buffer.concat([Uint8Array.of(0), utf8('a')]))), a);
  t.notSame(a, sha256('a'));
});

void t.test('the frontier agrees with the definition at every size', async (t) => {
  const sizes = [...Array(70).keys(), 127, 128, 129, 255, 256, 257, 511, 513, 1023, 1024, 1025];
  for (const size of sizes) {
    if (!rootAt(size).equals(definedRoot(leaves.slice(0, size)))) t.fail(`size ${size}`);
  }
  t.equal(stored.length, Number(storedHashCount(BigInt(LARGEST))));
  for (const size of sizes) {
    if (!(await readRoot(BigInt(size), read)).equals(rootAt(size))) t.fail(`stored root of size ${size}`);
  }
});

void t.test('stored hashes stand where they are looked for', async (t) => {
  for (let level = 0; level <= 10; level += 1) {
    for (let n = 0; (n + 1) << level <= LARGEST; n += 1) {
      const expected = definedRoot(leaves.slice(n << level, (n + 1) << level));
      const found = stored[Number(storedHashIndex({ level, n: BigInt(n) }))];
      if (found?.equals(expected) !== true) t.fail(`level ${level}, number ${n}`);
    }
  }
  // Beyond doubles: the two leaves around 2^53 must not fall together.
  t.not(storedHashIndex({ level: 0, n: 2n ** 53n }), storedHashIndex({ level: 0, n: 2n ** 53n + 1n }));
});

void t.test('a frontier survives writing and reading, and refuses what is not one', async (t) => {
  const clone = frontier.clone();
  t.same(clone.root(), frontier.root());
  t.same(clone.digest(), frontier.digest());
  clone.append(hashText(leafAt(0)));
  t.not(clone.size, frontier.size, 'the copy grows alone');
  const hashes = frontier.hashes();
  t.throws(() => Frontier.of(frontier.size, hashes.slice(1)), { name: 'MalformedBytes' });
  t.throws(() => Frontier.of(frontier.size, [...hashes, leafAt(0)]), { name: 'MalformedBytes' });
  t.throws(() => Frontier.of(1n, [Buffer.alloc(31)]), { name: 'MalformedBytes' });
  t.throws(() => Frontier.of(-1n, []), { name: 'MalformedBytes' });
  t.throws(() => Frontier.of(2n ** 53n, [leafAt(0)]), { name: 'MalformedBytes' });
});

const anySize = fc.integer({ min: 1, max: LARGEST });

void t.test(
  'an inclusion proof is accepted for its own leaf, index, size and root, and for nothing else',
  async (t) => {
    await fc.assert(
      fc.asyncProperty(anySize, fc.nat(), fc.nat(), async (size, at, change) => {
        const index = at % size;
        const proof = await makeInclusionProof(BigInt(index), BigInt(size), read);
        const check = (leaf: Buffer, i: number, s: number, p: readonly Buffer[], root: Buffer): void =>
          verifyInclusion(leaf, BigInt(i), BigInt(s), p, root);
        check(leafAt(index), index, size, proof, rootAt(size));
        refused(() => check(leafAt((index + 1) % LARGEST), index, size, proof, rootAt(size)));
        refused(() => check(leafAt(index), index, size, [...proof, leafAt(0)], rootAt(size)));
        refused(() => check(leafAt(index), index, size, proof, rootAt(size - 1)));
        if (size > 1) {
          refused(() => check(leafAt(index), (index + 1) % size, size, proof, rootAt(size)));
          refused(() => check(leafAt(index), index, size, proof.slice(1), rootAt(size)));
          refused(() => check(leafAt(index), index, size, proof.slice(0, -1), rootAt(size)));
          refused(() => check(leafAt(index), index, size, flipped(proof, change), rootAt(size)));
        }
      }),
      { numRuns: 300 },
    );
    t.pass('300 proofs');
  },
);

void t.test('a consistency proof is accepted for its own two trees, and for nothing else', async (t) => {
  await fc.assert(
    fc.asyncProperty(anySize, fc.nat(), fc.nat(), async (newSize, at, change) => {
      const oldSize = at % (newSize + 1);
      const proof = await makeConsistencyProof(BigInt(oldSize), BigInt(newSize), read);
      const check = (old: number, was: Buffer, now: number, is: Buffer, p: readonly Buffer[]): void =>
        verifyConsistency(BigInt(old), was, BigInt(now), is, p);
      check(oldSize, rootAt(oldSize), newSize, rootAt(newSize), proof);
      refused(() => check(oldSize, leafHash(utf8('x')), newSize, rootAt(newSize), proof));
      refused(() => check(oldSize, rootAt(oldSize), newSize, rootAt(newSize), [...proof, leafAt(1)]));
      if (oldSize === 0) return;
      refused(() => check(oldSize, rootAt(oldSize), newSize, leafHash(utf8('x')), proof));
      refused(() => check(newSize + 1, rootAt(oldSize), newSize, rootAt(newSize), proof));
      if (oldSize === newSize) return;
      refused(() => check(oldSize, rootAt(oldSize), newSize, rootAt(newSize), proof.slice(1)));
      refused(() => check(oldSize, rootAt(oldSize), newSize, rootAt(newSize), proof.slice(0, -1)));
      refused(() => check(oldSize, rootAt(oldSize), newSize, rootAt(newSize), flipped(proof, change)));
    }),
    { numRuns: 300 },
  );
  t.pass('300 proofs');
});

void t.test(
  'L14: proofs that are padded, for absent entries, or for sizes beyond 2^53 are refused',
  async (t) => {
    const proof = await makeInclusionProof(3n, 7n, read);
    const good = [leafAt(3), 3n, 7n, proof, rootAt(7)] as const;
    t.doesNotThrow(() => verifyInclusion(...good));
    const nearMisses: readonly (readonly [string, Parameters<typeof verifyInclusion>])[] = [
      ['index = size', [leafAt(3), 7n, 7n, proof, rootAt(7)]],
      ['a negative index', [leafAt(3), -1n, 7n, proof, rootAt(7)]],
      ['an empty tree', [leafAt(3), 0n, 0n, [], EMPTY_ROOT]],
      ['a wrong tree size', [leafAt(3), 3n, 9n, proof, rootAt(7)]],
      // As doubles both are 2^53: a verifier that counts in doubles takes one for the other.
      ['index 2^53 + 3', [leafAt(3), 2n ** 53n + 3n, 2n ** 53n + 7n, proof, rootAt(7)]],
      ['index + 2^64', [leafAt(3), 2n ** 64n + 3n, 7n, proof, rootAt(7)]],
      ['a zero-length hash', [leafAt(3), 3n, 7n, [...proof, Buffer.alloc(0)], rootAt(7)]],
      ['a hash of 31 bytes', [leafAt(3), 3n, 7n, proof.map((h) => h.subarray(1)), rootAt(7)]],
      ['a node in place of a leaf', [nodeHash(leafAt(2), leafAt(3)), 3n, 7n, proof.slice(1), rootAt(7)]],
      ['a leaf of 0 bytes', [Buffer.alloc(0), 3n, 7n, proof, rootAt(7)]],
    ];
    for (const [what, args] of nearMisses) {
      t.throws(() => verifyInclusion(...args), { name: 'MalformedBytes' }, what);
    }
    await t.rejects(makeInclusionProof(7n, 7n, read), RangeError);
    await t.rejects(makeConsistencyProof(8n, 7n, read), RangeError);
    t.throws(
      () => verifyConsistency(7n, rootAt(7), 6n, rootAt(6), []),
      { name: 'MalformedBytes' },
      'a tree that shrank',
    );
    t.throws(
      () => verifyConsistency(7n, rootAt(6), 7n, rootAt(7), []),
      { name: 'MalformedBytes' },
      'two roots, one size',
    );
    t.throws(
      () => verifyConsistency(0n, rootAt(1), 7n, rootAt(7), []),
      { name: 'MalformedBytes' },
      'a root for nothing',
    );
  },
);

function refused(check: () => void): void {
  try {
    check();
  } catch (thrown) {
    if (thrown instanceof Error && thrown.name === 'MalformedBytes') return;
    throw thrown;
  }
  throw new Error('accepted');
}

/** The proof with one bit of one hash turned. */
function flipped(proof: readonly Buffer[], change: number): Buffer[] {
  const copy = proof.map((hash) => Buffer.from(hash));
  const hash = copy[change % copy.length];
  const byte = Math.floor(change / 7) % 32;
  hash?.writeUInt8((hash[byte] ?? 0) ^ (1 << (change % 8)), byte);
  return copy;
}
