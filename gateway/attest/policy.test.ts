import fc from 'fast-check';
import t from 'tap';
import { policyBytes, type PolicyDraft, PCRS, pcrsOf } from '../../conformance/builders/attestor-lab.ts';
import { healthyBoot } from '../../conformance/builders/event-log.ts';
import { sha256, utf8 } from '../core/bytes.ts';
import { parsePolicy, type Step, violation } from './policy.ts';

const [A, B, C] = ['a', 'b', 'c'].map((text) => sha256(text).toString('hex')) as [string, string, string];

void t.test('a draft is a policy that its machine fits', async (t) => {
  const policy = parsePolicy(policyBytes());
  const pcrs = pcrsOf(healthyBoot());
  for (const [pcr, rule] of policy.rules) {
    const replayed = pcrs.get(pcr);
    t.equal(replayed && violation(rule, replayed), undefined, `PCR ${pcr}`);
  }
  t.match(policy.id, /^urn:troad:appraisal:edge:1@sha256:[\w-]{43}$/);
  t.not(parsePolicy(Buffer.concat([policyBytes(), Buffer.from(' ')])).id, policy.id, 'named by its bytes');
});

const rule = (pcrs: PolicyDraft['pcrs'], value: object): void =>
  void (pcrs.rules['4'] = { claim: 'executables', ...value });
for (const [what, change, problem] of [
  ['no rule for a quoted PCR', (draft) => delete draft.pcrs.rules['4'], /no rule for PCR 4/],
  ['a rule for a PCR that is not quoted', (draft) => (draft.pcrs.rules['15'] = { claim: 'executables', value: [A] }), /not selected/],
  ['nothing quoted', (draft) => ((draft.pcrs.select = []), (draft.pcrs.rules = {})), /at least one PCR/],
  ['PCR 16, which anybody resets', (draft) => draft.pcrs.select.push(16), /can be reset/],
  ['PCRs out of order', (draft) => draft.pcrs.select.unshift(7), /ascend/],
  ['a PCR twice', (draft) => draft.pcrs.select.splice(0, 0, 0), /ascend/],
  ['a bank of SHA-1', (draft) => (draft.pcrs.bank = 'sha1'), /sha256/],
  ['a rule without reference values', (draft) => rule(draft.pcrs, { value: [] }), /at least one reference value/],
  ['a step without reference values', (draft) => rule(draft.pcrs, { sequence: [{ any: [] }] }), /at least one reference value/],
  ['a digest of another length', (draft) => rule(draft.pcrs, { value: ['ab'.repeat(48)] }), /not sha256/],
  ['a digest in capitals', (draft) => rule(draft.pcrs, { value: [A.toUpperCase()] }), /not texts/],
  ['min above max', (draft) => rule(draft.pcrs, { sequence: [{ any: [A], min: 3, max: 2 }] }), /min above max/],
  ['steps that overlap', (draft) => rule(draft.pcrs, { sequence: [{ any: [A], min: 0, max: 2 }, { any: [B], min: 0 }, { any: [A] }] }), /shares a digest/],
  ['an unknown claim', (draft) => (draft.pcrs.rules['4'] = { claim: 'luck', value: [A] }), /executables \| configuration/],
  ['an unknown setting', (draft) => (draft['acceptAll'] = true), /\/acceptAll: unknown/],
  ['nobody to issue for', (draft) => (draft['audiences'] = []), /at least one gateway/],
  ['results that live an hour', (draft) => (draft.resultSeconds = 3600), /5 to 300/],
  ['an unsafe clock for a day', (draft) => (draft.unsafeClockMinutes = 1440), /0 to 75/],
  ['a firmware version that is none', (draft) => (draft.firmware = ['1.0']), /firmware/],
] as readonly (readonly [string, (draft: PolicyDraft) => unknown, RegExp])[]) {
  void t.test(`refuses ${what}`, async (t) => {
    t.throws(() => parsePolicy(policyBytes((draft) => void change(draft))), { name: 'ConfigError', message: problem });
  });
} // prettier-ignore

void t.test('all problems at once', async (t) => {
  const bytes = policyBytes((draft) => {
    draft.resultSeconds = 0;
    draft.version = 0;
    draft['x'] = 1;
  });
  try {
    parsePolicy(bytes);
    t.fail('accepted');
  } catch (thrown) {
    t.match(thrown, { problems: [/version/, /resultSeconds/, /\/x/] });
  }
  t.throws(() => parsePolicy(utf8('[]')), { name: 'MalformedBytes' });
  t.throws(() => parsePolicy(Buffer.of(0xff)), { name: 'MalformedBytes' });
});

const step = (any: readonly string[], min = 1, max = 1): Step => ({ any: new Set(any), min, max });
const walk = (sequence: readonly Step[], digests: readonly string[]): string | undefined =>
  violation(
    { claim: 'executables', sequence },
    { digests: digests.map((digest) => Buffer.from(digest, 'hex')), value: new Uint8Array(), isLogged: true },
  );

void t.test('sequences', async (t) => {
  const rows: readonly (readonly [readonly Step[], readonly string[], boolean])[] = [
    [[], [], true],
    [[], [A], false],
    [[step([A])], [A], true],
    [[step([A])], [], false],
    [[step([A])], [A, A], false],
    [[step([A, B])], [B], true],
    [[step([A]), step([B])], [B, A], false],
    [[step([A], 0, 3), step([B])], [A, A, A, B], true],
    [[step([A], 0, 3), step([B])], [A, A, A, A, B], false],
    [[step([A], 0, 3), step([B])], [B], true],
    [[step([A], 2, 3), step([B])], [A, B], false],
    [[step([A], 0), step([B], 0), step([C])], [C], true],
    [[step([A]), step([B], 0)], [A], true],
    [[step([A]), step([B], 1)], [A], false],
    [[step([A], 2, 2)], [A], false],
  ];
  rows.forEach(([sequence, digests, fits], i) =>
    t.equal(walk(sequence, digests) === undefined, fits, `row ${i}`),
  );
});

void t.test('a walk agrees with a regular expression', async () => {
  const letters = [A, B, C] as const;
  const steps = fc.array(
    fc
      .record({ letter: fc.nat(2), min: fc.nat(2), more: fc.nat(2) })
      .map(({ letter, min, more }) => ({ letter, min, max: Math.max(1, min + more) })),
    { maxLength: 4 },
  );
  fc.assert(
    fc.property(steps, fc.array(fc.nat(2), { maxLength: 8 }), (wanted, seen) => {
      // Only what parsePolicy lets through: no step of varying length shares a digest with what may follow it.
      const ambiguous = wanted.some(({ letter, min, max }, i) => {
        if (min === max) return false;
        for (const later of wanted.slice(i + 1)) {
          if (later.letter === letter) return true;
          if (later.min > 0) return false;
        }
        return false;
      });
      if (ambiguous) return true;
      const pattern = new RegExp(`^${wanted.map(({ letter, min, max }) => `${letter}{${min},${max}}`).join('')}$`);
      const sequence = wanted.map(({ letter, min, max }) => step([letters[letter] ?? ''], min, max));
      const fits = walk(sequence, seen.map((letter) => letters[letter] ?? '')) === undefined;
      return fits === pattern.test(seen.join(''));
    }),
    { numRuns: 5000 },
  ); // prettier-ignore
});

void t.test('values of PCRs without a log', async (t) => {
  const only = { claim: 'configuration', value: new Set([A]) } as const;
  t.equal(violation(only, { digests: [], value: Buffer.from(A, 'hex'), isLogged: false }), undefined);
  t.match(violation(only, { digests: [], value: Buffer.from(B, 'hex'), isLogged: false }), /^value/);
  t.equal(PCRS.includes(14), true);
});
