import t from 'tap';
import { base64url, sha256 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { canonicalJson } from './canonical.ts';
import { parseVerdict } from './decision.ts';

const KNOWN = new Map([
  ['test.no', 1],
  ['test.never', 1],
]);
const ALLOW = {
  decision_id: 'd1',
  allow: true,
  tier: 'medium',
  score: 70,
  threshold: 60,
  reasons: [],
  obligations: {},
};
const DENY = { ...ALLOW, allow: false, reasons: ['test.no'] };
const parse = (results: unknown, id = 'd1') => parseVerdict(results, id, KNOWN);

void t.test('reads an allow and a denial', async (t) => {
  const digest = base64url(sha256(canonicalJson(ALLOW)));
  t.strictSame(parse([{ result: ALLOW }]), {
    allow: true,
    reasons: [],
    obligations: {},
    tier: 'medium',
    score: 70,
    threshold: 60,
    resultDigest: digest,
  });
  const denied = { ...DENY, reasons: ['test.never', 'test.no'] };
  const verdict = parse([{ result: denied }]);
  t.equal(verdict.allow, false);
  t.strictSame(verdict.reasons, ['test.never', 'test.no']);
  t.equal(
    verdict.resultDigest,
    base64url(sha256(canonicalJson(denied))),
    'the digest is that of the RFC 8785 form',
  );
});

void t.test('O01, O02: whatever is not exactly one complete answer is none', async (t) => {
  const { allow: _, ...withoutAllow } = ALLOW;
  const { obligations: __, ...withoutObligations } = ALLOW;
  const refused: readonly (readonly [what: string, results: unknown])[] = [
    ['no result set', undefined],
    ['null', null],
    ['an object in place of the result set', { 0: { result: ALLOW }, length: 1 }],
    ['the result without its set', ALLOW],
    ['true', true],
    ['undefined result', []],
    ['two results', [{ result: ALLOW }, { result: ALLOW }]],
    ['two results, the second empty', [{ result: ALLOW }, undefined]],
    ['a hole', [undefined]],
    ['a result without wrapping', [ALLOW]],
    ['more beside the result', [{ result: ALLOW, bindings: {} }]],
    ...[true, 'true', 1, [], {}, null, undefined, [ALLOW]].map(
      (r) => [`result ${JSON.stringify(r)}`, [{ result: r }]] as const,
    ),
    ...['true', 1, [], {}, null, undefined, [true], 'false', 0].map(
      (allow) => [`allow ${JSON.stringify(allow)}`, [{ result: { ...ALLOW, allow } }]] as const,
    ),
    ['no allow', [{ result: withoutAllow }]],
    ['no obligations', [{ result: withoutObligations }]],
    ['a member more', [{ result: { ...ALLOW, verdict: 1 } }]],
    [
      'a member named __proto__',
      [{ result: JSON.parse(`{"__proto__":{},${JSON.stringify(ALLOW).slice(1)}`) }],
    ],
    ...['d2', '', 'D1', 'd1 ', null, 1, ['d1']].map(
      (id) => [`decision_id ${JSON.stringify(id)}`, [{ result: { ...ALLOW, decision_id: id } }]] as const,
    ),
    ...[
      '',
      'test.no',
      {},
      null,
      [1],
      [null],
      ['test.unknown'],
      [['test.no']],
      ['test.no', 'test.no'],
      [],
    ].map((reasons) => [`reasons ${JSON.stringify(reasons)}`, [{ result: { ...DENY, reasons } }]] as const),
    ['an allow with reasons', [{ result: { ...ALLOW, reasons: ['test.no'] } }]],
    ...[null, [], '', true, JSON.parse('{"__proto__":1}')].map(
      (obligations: unknown) =>
        [`obligations ${JSON.stringify(obligations)}`, [{ result: { ...ALLOW, obligations } }]] as const,
    ),
  ];
  for (const [what, results] of refused) t.throws(() => parse(results), MalformedBytes, what);
  t.throws(
    () => parse([{ result: { ...ALLOW, decision_id: '' } }], ''),
    MalformedBytes,
    'nothing asked, nothing echoed',
  );
});

void t.test('a denial may have any score', async (t) => {
  for (const [score, threshold, tier] of [[0, 100, 'none'], [100, 0, 'high'], [60, 60, 'low']] as const) {
    t.match(parse([{ result: { ...DENY, score, threshold, tier } }]), { score, threshold, tier });
  } // prettier-ignore
});
