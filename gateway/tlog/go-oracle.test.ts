// Second opinion: Go's golang.org/x/mod/sumdb library must accept what we make and refuse what we refuse.
import { spawnSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { base64, sha256, utf8 } from '../core/bytes.ts';
import { signCheckpoint } from './checkpoint.ts';
import { Frontier } from './frontier.ts';
import { hashBytes, hashText, leafHash } from './hash.ts';
import { noteSigner } from './note.ts';
import { makeConsistencyProof, makeInclusionProof } from './proof.ts';

const go = spawnSync('go', ['env', 'GOVERSION'], { encoding: 'utf8' });
const [, major = '0', minor = '0'] = /^go(\d+)\.(\d+)/.exec(go.stdout ?? '') ?? [];
const tooOld = Number(major) !== 1 || Number(minor) < 21;

void t.test(
  'Go agrees with our checkpoints and proofs',
  { skip: tooOld ? 'no go >= 1.21 on the PATH: install Go to cross-check the log formats' : false },
  async (t) => {
    const signer = noteSigner(
      'gw.b07.tw.troad.example/troad-log/gw1/1',
      createPrivateKey({
        key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), sha256('seed')]),
        format: 'der',
        type: 'pkcs8',
      }),
    );
    const entries = Array.from({ length: 300 }, (_, i) => utf8(`{"v":1,"n":${i}}`));
    const stored: Buffer[] = [];
    const roots: Buffer[] = [];
    const tree = new Frontier();
    for (const entry of entries) {
      roots.push(tree.root());
      tree.append(hashText(leafHash(entry)), (hash) => stored.push(hashBytes(hash)));
    }
    roots.push(tree.root());
    const read = async (indices: readonly bigint[]): Promise<Buffer[]> =>
      indices.map((i) => stored[Number(i)] ?? Buffer.alloc(0));
    const rootAt = (size: number): string => base64(roots[size] ?? Buffer.alloc(0));
    const altered = (proof: readonly string[]): string[] =>
      proof.map((hash, i) => (i === 0 ? base64(sha256(hash)) : hash));

    const questions: { ask: object; expect: boolean; what: string }[] = [];
    const both = (what: string, good: object, bad: object): void => {
      questions.push(
        { what, ask: good, expect: true },
        { what: `${what}, altered`, ask: { ...good, ...bad }, expect: false },
      );
    };
    for (const size of [1, 2, 3, 7, 8, 64, 65, 255, 299, 300]) {
      const root = Buffer.from(rootAt(size), 'base64');
      const note = signCheckpoint({ origin: signer.name, size: BigInt(size), root }, signer);
      const head = { op: 'checkpoint', note, vkey: signer.vkey, size, root: rootAt(size) };
      both(`checkpoint of ${size}`, head, { note: note.replace(`\n${size}\n`, `\n${size + 1}\n`) });
      for (const index of new Set([0, size >> 1, size - 1])) {
        const proof = (await makeInclusionProof(BigInt(index), BigInt(size), read)).map(base64);
        const entry = base64(entries[index] ?? Buffer.alloc(0));
        const good = { op: 'inclusion', proof, size, root: rootAt(size), index, entry };
        both(
          `entry ${index} of ${size}`,
          good,
          proof.length > 0 ? { proof: altered(proof) } : { entry: 'AAAA' },
        );
      }
      for (const old of new Set([1, size >> 1, size - 1, size])) {
        if (old < 1) continue;
        const proof = (await makeConsistencyProof(BigInt(old), BigInt(size), read)).map(base64);
        const good = { op: 'consistency', proof, size, root: rootAt(size), old, was: rootAt(old) };
        both(
          `${old} to ${size}`,
          good,
          proof.length > 0 ? { proof: altered(proof) } : { was: rootAt(299 - size) },
        );
      }
    }

    const folder = fileURLToPath(new URL('../../conformance/go', import.meta.url));
    const input = questions.map(({ ask }) => `${JSON.stringify(ask)}\n`).join('');
    const oracle = spawnSync('go', ['run', './tlog-oracle'], {
      cwd: folder,
      input,
      encoding: 'utf8',
      timeout: 600_000,
    });
    t.equal(oracle.status, 0, oracle.stderr);
    const answers = oracle.stdout.trimEnd().split('\n');
    t.equal(answers.length, questions.length);
    for (const [i, { expect, what }] of questions.entries()) {
      t.equal(answers[i] === 'accept', expect, `${what}: ${answers[i]}`);
    }
  },
);
