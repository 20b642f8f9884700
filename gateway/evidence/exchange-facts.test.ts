import t from 'tap';
import fc from 'fast-check';
import { CONSUMER, exchangeId } from '../../conformance/builders/log.ts';
import { KnownFacts, type LearntFacts, type OwnFacts, type SharedFacts } from './exchange-facts.ts';
import { formatMeta, readMeta, withSubject } from './meta-part.ts';
import type { DeviceFacts, PolicyFacts, TlsFacts } from './record.ts';

// Anything a client may write: quotes, controls, line separators, halves of surrogate pairs.
const text = fc.string({ unit: 'binary' });
const optional = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined });
const tls: fc.Arbitrary<TlsFacts> = fc.record({ v: text, suite: text, g: text, peer: text });
const machine: fc.Arbitrary<DeviceFacts> = fc.record({
  r: text,
  iss: text,
  id: text,
  tpm: text,
  health: text,
  by: text,
});
const policy: fc.Arbitrary<PolicyFacts> = fc.record({
  b: text,
  e: text,
  i: text,
  o: text,
  allow: fc.boolean(),
  tier: text,
  score: fc.integer(),
  threshold: fc.integer(),
  reasons: fc.array(text),
  obligations: fc.dictionary(text, fc.jsonValue()),
});
const learnt = fc.record({
  xid: optional(text),
  peer: optional(text),
  client: optional(text),
  svc: optional(text),
  op: optional(text),
  pol: optional(policy),
}) as fc.Arbitrary<LearntFacts>; // undefined is "not known", as it is to JSON
const shared = fc.record(
  { tls, dev: machine, node: machine },
  { requiredKeys: [] },
) as fc.Arbitrary<SharedFacts>; // absent where it is not known
const own: fc.Arbitrary<OwnFacts> = fc.record({
  out: fc.constantFrom('ok', 'policy.denied'),
  sig: text,
  kid: text,
  len: fc.nat(),
  sent: fc.record({ req: fc.nat(), res: fc.nat() }),
});

/** Members in the order of their names, all the way down. */
const entriesOf = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.entries(value)
        .map(([name, member]) => [name, entriesOf(member)])
        .toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1))
    : value;

void t.test('the text of a record says what was known when it was written, whatever it was', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(learnt, shared, own), { minLength: 1, maxLength: 4 }), (steps) => {
      const facts = new KnownFacts(exchangeId(1), 'c', CONSUMER);
      let plain: object = { x: exchangeId(1), role: 'c', me: CONSUMER };
      for (const [more, session, mine] of steps) {
        facts.learn(more);
        facts.share(session);
        plain = { ...plain, ...more, ...session };
        for (const at of [1, 2]) {
          const members = facts.record('deny', at, mine).members.join('');
          const expected = JSON.stringify({ k: 'deny', at, ...plain, ...mine });
          const sorted = (json: string): string => JSON.stringify(entriesOf(JSON.parse(json)));
          if (sorted(`{${members}}`) !== sorted(expected)) return false;
          if (Buffer.byteLength(members) !== Buffer.byteLength(expected) - 2) return false;
        }
      }
      return true;
    }),
  );
  t.pass();
});

void t.test('a meta part gives back what was told and what was signed', async (t) => {
  fc.assert(
    fc.property(text, optional(fc.string({ unit: 'grapheme' })), (path, base) => {
      const part = readMeta(Buffer.from(formatMeta({ path }, base).join('')));
      return part.told === JSON.stringify({ path }) && part.base === base;
    }),
  );
  t.equal(
    readMeta(Buffer.from(formatMeta({}, '"@method": GET\n\n{}').join(''))).base,
    '"@method": GET\n\n{}',
  );
});

void t.test('of what was signed, a meta part leaves the user’s assertion to the subject part', async (t) => {
  const user = 'assertion="e.y.J", certificate=:AAAA:';
  const around = (value: string): string => `"@method": GET\n"t-road-user": ${value}\n"x": "t-road-user": y`;
  const part = readMeta(Buffer.from(formatMeta({ path: '/x' }, around(user), user).join('')));
  t.same(JSON.parse(part.told), { path: '/x', subject: 't-road-user' });
  t.equal(part.base, around(''), 'the line stays');
  t.equal(withSubject(around(''), 't-road-user', user), around(user));
  const last = `"@method": GET\n"t-road-user": ${user}`;
  const end = readMeta(Buffer.from(formatMeta({}, last, user).join(''))).base ?? '';
  t.equal(withSubject(end, 't-road-user', user), last, 'at the end of the text');

  const answer = '"@status": 200\n"x": "t-road-user": y';
  t.equal(formatMeta({}, answer, user).join(''), `{}\n${answer}`, 'a text that has no such line is whole');
  for (const other of [`${user}x`, `x${user}`, user.slice(1), user.slice(0, -1), '', 'x'])
    t.throws(() => formatMeta({}, around(user), other), /not the one to be sealed/, other);
  for (const [base, name] of [
    [around(user), 't-road-user'],
    [answer, 't-road-user'],
    ['"t-road-user": \n"x": y', 't-road-user'],
    [around(''), 'x'],
    [around(''), true],
    [around(''), null],
  ] as const)
    t.throws(() => withSubject(base, name, user), { name: 'MalformedBytes' }, `${base} ${name}`);
});
