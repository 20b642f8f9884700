// Second opinion: Go's golang.org/x/mod/sumdb/tlog must find in our batch signatures what we find in them.
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { base64, sha256, utf8 } from '../core/bytes.ts';
import { hashBytes, leafTextOf } from '../tlog/hash.ts';
import { BatchSignature } from './batch.ts';
import { signText } from './signing-fixture.ts';
import { SigningQueue } from './signing-queue.ts';

const go = spawnSync('go', ['env', 'GOVERSION'], { encoding: 'utf8' });
const [, major = '0', minor = '0'] = /^go(\d+)\.(\d+)/.exec(go.stdout ?? '') ?? [];
const tooOld = Number(major) !== 1 || Number(minor) < 21;

void t.test(
  'Go finds every message in its batch, and no other',
  { skip: tooOld ? 'no go >= 1.21 on the PATH: install Go to cross-check batch signatures' : false },
  async (t) => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const paces = { soon: setImmediate, record: setImmediate };
    const queue = new SigningQueue({ kid: 'k', algorithm: 'ed25519', privateKey }, paces);
    const questions: { ask: object; expect: boolean; what: string }[] = [];
    for (const size of [2, 3, 4, 5, 7, 8, 13, 64, 65, 100]) {
      const texts = Array.from({ length: size }, (_, i) => `"@path": /${size}/${i}`);
      const signed = await Promise.all(texts.map((text) => signText(queue, () => text)));
      for (const [n, { base, value }] of signed.entries()) {
        const batch = new BatchSignature(Buffer.from(value, 'base64'));
        const { index, path } = batch;
        const good = {
          op: 'inclusion',
          entry: base64(utf8(base)),
          index,
          size: batch.size,
          proof: path.map(base64),
          root: base64(hashBytes(batch.rootOf(leafTextOf(base)))),
        };
        const what = `message ${n} of ${size}`;
        questions.push(
          { what, ask: good, expect: true },
          { what: `${what}, another text`, ask: { ...good, entry: base64(utf8(`${base} `)) }, expect: false },
          { what: `${what}, another place`, ask: { ...good, index: (index + 1) % size }, expect: false },
          { what: `${what}, another root`, ask: { ...good, root: base64(sha256(base)) }, expect: false },
          {
            what: `${what}, a hash more`,
            ask: { ...good, proof: [...good.proof, good.root] },
            expect: false,
          },
        );
      }
    }
    const oracle = spawnSync('go', ['run', './tlog-oracle'], {
      cwd: fileURLToPath(new URL('../../conformance/go', import.meta.url)),
      input: questions.map(({ ask }) => `${JSON.stringify(ask)}\n`).join(''),
      encoding: 'utf8',
      timeout: 600_000,
    });
    t.equal(oracle.status, 0, oracle.stderr);
    const answers = oracle.stdout.trimEnd().split('\n');
    t.equal(answers.length, questions.length);
    const wrong = questions.filter(({ expect }, i) => (answers[i] === 'accept') !== expect);
    t.same(wrong, []);
  },
);
