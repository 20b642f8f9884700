import t from 'tap';
import { TokenCache, type TokenInputs } from './token-cache.ts';
import { NOW, verified } from './tokens-fixture.ts';

const bound = await verified({ cnf: { 'x5t#S256': 'A'.repeat(43) } });
const INPUTS: TokenInputs = {
  presented: 'p',
  encrypted: false,
  member: 'TW/GOV/A11',
  audience: 'https://gw.a11.tw.troad.example',
  revision: 'registry-1 0',
  now: NOW,
};

void t.test('gives back what was verified under the same inputs, within the minute', async (t) => {
  const cache = new TokenCache();
  t.equal(cache.find(INPUTS), undefined);
  cache.keep(INPUTS, bound);
  t.equal(cache.find(INPUTS), bound);
  const minute = NOW - (NOW % 60);
  t.equal(cache.find({ ...INPUTS, now: minute + 59 }), bound);
  t.same(cache.stats, { hits: 2, misses: 1 });
});

// J18: a result that was found under one value says nothing under another.
const changes: readonly (readonly [what: string, change: Partial<TokenInputs>])[] = [
  ['another assertion', { presented: 'q' }],
  ['the same, encrypted', { encrypted: true }],
  ["another member's users", { member: 'TW/GOV/B07' }],
  ['another audience', { audience: 'https://gw.b07.tw.troad.example' }],
  ['another registry, or other keys', { revision: 'registry-2 0' }],
  ['another minute', { now: NOW + 60 }],
  ['an earlier minute', { now: NOW - 60 }],
];
for (const [what, change] of changes) {
  void t.test(`J18 ${what} is verified anew`, async (t) => {
    const cache = new TokenCache();
    cache.keep(INPUTS, bound);
    t.equal(cache.find({ ...INPUTS, ...change }), undefined);
  });
}

void t.test('inputs that run together are still told apart', async (t) => {
  const cache = new TokenCache();
  cache.keep({ ...INPUTS, member: 'a', audience: 'b c' }, bound);
  // Members and audiences hold no blanks, so this cannot come from outside; the revision is ours.
  t.equal(cache.find({ ...INPUTS, member: 'a', audience: 'b' }), undefined);
});

void t.test('an assertion that nothing binds is not kept', async (t) => {
  const cache = new TokenCache();
  cache.keep(INPUTS, await verified());
  t.equal(cache.find(INPUTS), undefined);
});

void t.test('forgets rather than grows', async (t) => {
  const cache = new TokenCache(10);
  for (let i = 0; i < 100; i++) cache.keep({ ...INPUTS, presented: String(i) }, bound);
  const kept = Array.from({ length: 100 }, (_, i) => cache.find({ ...INPUTS, presented: String(i) })).filter(
    Boolean,
  );
  t.ok(kept.length === 10, `${kept.length} of 100`);
});

void t.test('holds nothing of past minutes', async (t) => {
  const cache = new TokenCache();
  cache.keep(INPUTS, bound);
  cache.keep({ ...INPUTS, presented: 'q', now: NOW + 60 }, bound);
  t.equal(cache.find({ ...INPUTS, presented: 'q', now: NOW + 60 }), bound);
  t.equal(cache.find(INPUTS), undefined, 'even asked by a clock that was set back');
});
