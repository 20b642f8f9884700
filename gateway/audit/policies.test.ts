import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import t from 'tap';
import { base64url, sha256 } from '../core/bytes.ts';
import type { CoreRecord } from '../evidence/record.ts';
import { PolicyTrail } from './policies.ts';
import { keyIdOf, signRelease, type Release } from '../trust/release.ts';
import type { StepReport } from './report.ts';
import type { TrustedSigners } from './trust-file.ts';

const activation = (bundle: string, act: string, version?: number) => ({
  k: 'policy',
  bundle,
  act,
  ...(version === undefined ? {} : { version }),
});
const decision = (b: string, k = 'req.final') => ({ k, pol: { b, allow: true } });

/** The trail looks at no more of a record than stands here. */
function read(...records: readonly object[]): StepReport {
  const trail = new PolicyTrail([]);
  for (const [i, record] of records.entries()) trail.read(record as CoreRecord, BigInt(i));
  return trail.step.report();
}

void t.test('each decision cites a bundle that was activated before it', async (t) => {
  const good = read(
    activation('a', 'start', 1),
    decision('a'),
    activation('b', 'activate', 2),
    decision('a'), // was under way
    decision('b', 'deny'),
    activation('a', 'return', 1),
    decision('a', 'open'),
    activation('b', 'start', 2),
  );
  t.match(good, { status: 'pass', checked: 4, findings: [] });
});

void t.test('a bundle that was never in force, or not yet', async (t) => {
  const early = read(activation('a', 'start'), decision('b'), activation('b', 'activate'), decision('b'));
  t.match(early, {
    status: 'fail',
    checked: 1,
    findings: [{ kind: 'policy', index: '1', detail: /decided by b/ }],
  });
});

void t.test('an activation that goes back', async (t) => {
  const back = read(activation('a', 'start', 2), activation('b', 'activate', 1));
  t.match(back, { status: 'fail', findings: [{ kind: 'rollback', index: '1' }] });
  t.match(read(activation('a', 'start', 2), activation('b', 'activate')), { status: 'fail' });
});

void t.test('what cannot be judged', async (t) => {
  t.match(read(decision('a')), { status: 'not checkable', notCheckable: 1, findings: [] });
  t.match(read(activation('a', 'start'), { k: 'deny' }, { k: 'abort', pol: { b: 'z' } }), {
    checked: 0,
    findings: [],
  });
});

void t.test(
  'policies in force were released by those the trust file names, when it names them',
  async (t) => {
    const [anna, bert, eve] = [0, 1, 2].map(() => generateKeyPairSync('ed25519'));
    if (anna === undefined || bert === undefined || eve === undefined) throw new Error('no keys');
    const signers = (threshold: number, notBefore: number, ...keys: readonly { publicKey: KeyObject }[]) => ({
      keys: new Map(keys.map(({ publicKey }) => [keyIdOf(publicKey), publicKey])),
      threshold,
      notBefore,
      notAfter: Date.UTC(2028, 0),
    });
    const [from, until, at] = [Date.UTC(2026, 0), Date.UTC(2027, 0), Date.UTC(2026, 5)];
    const bundle = base64url(sha256('a bundle'));
    const released = (...keys: readonly { privateKey: KeyObject }[]): Record<string, unknown> => {
      const statement = { bundle, version: 3, notBefore: from, expiresAt: until };
      let release: Release | undefined;
      for (const { privateKey } of keys) release = signRelease(statement, privateKey, release);
      return {
        k: 'policy',
        at,
        bundle,
        act: 'activate',
        version: 3,
        from,
        until,
        signatures: release?.signatures,
      };
    };
    const judge = (record: object, trusted: readonly TrustedSigners[]): StepReport => {
      const trail = new PolicyTrail(trusted);
      trail.read(record as CoreRecord, 7n);
      return trail.releases.report();
    };
    const both = [signers(2, 0, anna, bert)];
    const good = released(anna, bert);
    t.match(judge(good, both), { status: 'pass', checked: 1, findings: [] });
    t.match(judge(good, []), { status: 'not checkable', notCheckable: 1 }, 'the file names nobody');
    t.match(
      judge(good, [signers(1, 0, eve), ...both]),
      { status: 'pass' },
      'signers changed: either will do',
    );
    t.match(
      judge({ ...good, act: 'start', at: until + 1 }, both),
      { status: 'pass' },
      'expired while in force',
    );
    const wrong: readonly (readonly [what: string, record: object, trusted: readonly TrustedSigners[], why: RegExp])[] = [
    ['one of two', released(anna), both, /1 of the 2 signatures/],
    ['somebody else', released(anna, eve), both, /not known/],
    ['nobody', { ...good, signatures: undefined }, both, /nobody released it/],
    ['another version than was signed', { ...good, version: 4 }, both, /signature_bad/],
    ['another bundle than was signed', { ...good, bundle: base64url(sha256('x')) }, both, /signature_bad/],
    ['more time than was signed', { ...good, until: until + 1000 }, both, /signature_bad/],
    ['one signer twice', { ...good, signatures: [1, 2].map(() => (good['signatures'] as unknown[])[0]) }, both, /occurs twice/],
    ['put in force when it had expired', { ...good, at: until }, both, /outside the time/],
    ['signers who were not trusted yet', good, [signers(2, at + 1, anna, bert)], /nobody was trusted/],
    ['a time that is none', { ...good, at: 'x' }, both, /no time/],
    ['signatures that are none', { ...good, signatures: 'x' }, both, /no list/],
    ['a validity that is none', { ...good, from: 'x' }, both, /time/i],
  ]; // prettier-ignore
    for (const [what, record, trusted, why] of wrong) {
      t.match(
        judge(record, trusted),
        { status: 'fail', findings: [{ kind: 'release', index: '7', detail: why }] },
        what,
      );
    }
  },
);
