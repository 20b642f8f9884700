import fc from 'fast-check';
import t from 'tap';
import { smallestChanges } from './changes.ts';
import { ABSENT, places, withChange } from './pointer.ts';

const field = (document: unknown, name: string): unknown =>
  typeof document === 'object' && document !== null ? Reflect.get(document, name) : undefined;

void t.test('the nearest number that makes the difference', async () => {
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.nat(1_000_000), (from, bound) => {
      const [change] = smallestChanges({ n: from, other: bound }, undefined, (changed) => {
        const n = field(changed, 'n');
        return typeof n === 'number' && field(changed, 'other') === bound && n >= bound !== from >= bound;
      });
      // 0 is never below a bound of 0.
      if (change === undefined) return bound === 0;
      return change.pointer === '/n' && change.to === (from >= bound ? bound - 1 : bound);
    }),
  );
});

void t.test('values come from the schema, too; what is missing on a list may be put there', async (t) => {
  const schema = {
    properties: {
      kind: { enum: ['a', 'b'] },
      who: {
        anyOf: [{ type: 'null' }, { type: 'object', properties: { level: { type: 'integer', maximum: 3 } } }],
      },
    },
  };
  const input = { kind: 'a', who: null, asked: 'x', listed: ['y'], on: false };
  const to = (wanted: (changed: object) => boolean) =>
    smallestChanges(input, schema, (changed) => wanted(Object(changed) as object)).map(
      (change) => [change.pointer, change.to] as const,
    );
  t.strictSame(
    to((changed) => field(changed, 'kind') === 'b'),
    [['/kind', 'b']],
  );
  t.strictSame(
    to((changed) => field(field(changed, 'who'), 'level') === 3),
    [['/who', { level: 3 }]],
  );
  t.strictSame(to((changed) => Array.isArray(field(changed, 'listed')) && String(field(changed, 'listed')).includes('x')), [
    ['/listed/0', 'x'],
    ['/listed', ['y', 'x']],
  ]); // prettier-ignore
  t.strictSame(
    to((changed) => field(changed, 'on') === true),
    [['/on', true]],
  );
  t.strictSame(
    to(() => false),
    [],
  );
  const all = to(() => true).map(([pointer]) => pointer);
  t.equal(all[0], '/kind', 'small ones first');
  t.strictSame(
    smallestChanges({ decision_id: 'x', y: 'z' }, undefined, () => true).length,
    1,
    'never the id',
  );
});

void t.test('places and changes of a document', async (t) => {
  const document = { 'a/b': { '~': [1, { c: null }] } };
  t.strictSame([...places(document)].map(([pointer]) => pointer), ['/a~1b', '/a~1b/~0', '/a~1b/~0/0', '/a~1b/~0/1', '/a~1b/~0/1/c']); // prettier-ignore
  t.strictSame(withChange(document, '/a~1b/~0/1/c', 2), { 'a/b': { '~': [1, { c: 2 }] } });
  t.strictSame(withChange(document, '/a~1b', ABSENT), {});
  t.throws(() => withChange(document, '/x/y', 1), { message: 'no /x/y' });
  t.throws(() => withChange(document, '', 1));
});
