import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseVectors } from '../../gateway/author/vectors.ts';
import { utf8 } from '../../gateway/core/bytes.ts';
import { Bundle } from '../../gateway/trust/bundle.ts';
import { canonicalJson } from '../../gateway/trust/canonical.ts';
import { PolicyEngine } from '../../gateway/trust/engine.ts';
import { POLICIES } from '../opa.ts';

const EXAMPLES = join(POLICIES, 'examples');
const NAMES = ['ai-corpus', 'household', 'messages-111', 'token-stream', 'weather'];
const load = (folder: string): PolicyEngine =>
  PolicyEngine.load(
    Bundle.parse({
      manifest: readFileSync(join(folder, 'manifest.json')),
      wasm: readFileSync(join(folder, 'policy.wasm')),
      data: readFileSync(join(folder, 'data.json')),
    }),
  );
const examples = load(join(EXAMPLES, 'bundle'));
const vectorsIn = (folder: string) =>
  readdirSync(join(folder, 'vectors')).flatMap((name) =>
    parseVectors(name, readFileSync(join(folder, 'vectors', name), 'utf8')),
  );

for (const name of NAMES) {
  void t.test(`${name}: golden vectors, on the compiled module`, async (t) => {
    const vectors = vectorsIn(join(EXAMPLES, name));
    t.ok(vectors.length >= 8, 'they are there');
    const reasons = new Set<string>();
    for (const { name: what, input, expect } of vectors) {
      const verdict = examples.replay(utf8(canonicalJson(input)));
      if (expect === 'undefined') throw new Error('an example always decides');
      for (const [member, value] of Object.entries(expect))
        t.strictSame({ ...verdict }[member], value, `${what}: ${member}`);
      for (const reason of verdict.reasons) reasons.add(reason);
    }
    const own = JSON.parse(readFileSync(join(EXAMPLES, name, 'data', 'reasons.json'), 'utf8')) as object;
    for (const code of Object.keys(own)) t.ok(reasons.has(code), `${code} is seen`);
  });

  void t.test(`${name} says what it is, in both languages`, async (t) => {
    for (const file of ['README.md', 'README.zh-TW.md'])
      t.match(readFileSync(join(EXAMPLES, name, file), 'utf8'), `policies/examples/${name}`, file);
  });
}

void t.test('they are all there is, and leave the default policy as it is', async (t) => {
  const folders = readdirSync(EXAMPLES, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  t.strictSame(folders.map(({ name }) => name).toSorted(), [...NAMES, 'bundle'].toSorted());
  const plain = load(join(POLICIES, 'bundle'));
  const outcome = (engine: PolicyEngine, input: unknown): unknown => {
    try {
      const { resultDigest } = engine.replay(utf8(canonicalJson(input)));
      return resultDigest;
    } catch (thrown) {
      t.match(thrown, { code: 'policy.undefined' });
      return undefined;
    }
  };
  for (const { name, input } of vectorsIn(POLICIES))
    t.equal(outcome(examples, input), outcome(plain, input), name);
});
