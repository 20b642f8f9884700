import t from 'tap';
import { MalformedBytes } from '../core/errors.ts';
import { canonicalJson } from './canonical.ts';
import { parseObligations } from './obligations.ts';

const DUTIES = {
  read_only: true,
  extra_logging: true,
  max_request_bytes: 0,
  max_response_bytes: 1_000_000,
  max_bytes_per_second: 65_536,
  max_seconds: 60,
  recheck_seconds: 30,
};
const STEP_UP = { step_up: { max_age_seconds: 900, aal: 3 } };

void t.test('reads every duty, and writes it as RFC 8785 does', async (t) => {
  t.same(parseObligations(DUTIES, true), DUTIES);
  t.same(parseObligations(STEP_UP, false), STEP_UP);
  t.equal(JSON.stringify(parseObligations(DUTIES, true)), canonicalJson(DUTIES));
  t.equal(JSON.stringify(parseObligations(STEP_UP, false)), canonicalJson(STEP_UP));
  for (const [name, value] of Object.entries(DUTIES)) {
    t.strictSame(parseObligations({ [name]: value }, true), { [name]: value }, `${name} alone`);
  }
  t.strictSame(parseObligations({}, true), {});
  t.strictSame(parseObligations({}, false), {});
});

void t.test('a step-up belongs to a denial, the others to an allow', async (t) => {
  t.throws(() => parseObligations(STEP_UP, true), { name: 'MalformedBytes', message: /step_up with allow/ });
  for (const [name, value] of Object.entries(DUTIES)) {
    t.throws(() => parseObligations({ [name]: value }, false), new RegExp(`${name} with allow false`));
  }
});

void t.test('O02: what is not exactly a duty we know is no result', async (t) => {
  const refused: readonly (readonly [value: unknown, allow: boolean])[] = [
    ...[null, [], '', true, 1, undefined].map((value) => [value, true] as const),
    [{ mask_fields: true }, true],
    [{ readOnly: true }, true],
    [JSON.parse('{"__proto__":1}'), true],
    [{ toString: true }, true],
    ...['read_only', 'extra_logging'].flatMap((name) =>
      [false, 'true', 1, null, {}, [true], undefined].map((value) => [{ [name]: value }, true] as const),
    ),
    ...Object.keys(DUTIES)
      .filter((name) => name.startsWith('max_') || name.startsWith('recheck_'))
      .flatMap((name) =>
        [-1, 0.5, '60', null, true, [60], {}, 2 ** 53, Number.NaN, Infinity, undefined].map(
          (value) => [{ [name]: value }, true] as const,
        ),
      ),
    ...['max_bytes_per_second', 'max_seconds', 'recheck_seconds'].map(
      (name) => [{ [name]: 0 }, true] as const,
    ),
    [{ max_bytes_per_second: 65_535 }, true],
    ...[
      true,
      null,
      [],
      {},
      { aal: 3 },
      { max_age_seconds: 900 },
      { aal: 0, max_age_seconds: 900 },
      { aal: 4, max_age_seconds: 900 },
      { aal: '3', max_age_seconds: 900 },
      { aal: 3, max_age_seconds: 0 },
      { aal: 3, max_age_seconds: 0.5 },
      { aal: 3, max_age_seconds: 900, acr: 'x' },
    ].map((value) => [{ step_up: value }, false] as const),
  ];
  for (const [value, allow] of refused) {
    t.throws(() => parseObligations(value, allow), MalformedBytes, JSON.stringify(value) ?? 'undefined');
  }
});
