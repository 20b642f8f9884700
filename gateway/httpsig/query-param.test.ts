import fc from 'fast-check';
import t from 'tap';
import { queryParam } from './query-param.ts';

void t.test('the examples of RFC 9421 §2.2.8', async (t) => {
  const query = '?param=value&foo=bar&baz=batman&qux=';
  t.equal(queryParam(query, 'baz'), 'batman');
  t.equal(queryParam(query, 'qux'), '');
  t.equal(queryParam(query, 'param'), 'value');
});

void t.test('decoded, then encoded in one way', async (t) => {
  t.equal(queryParam("?a=!'()~*-._", 'a'), '%21%27%28%29%7E*-._');
  t.equal(queryParam('?a=%2b+%2B', 'a'), '%2B%20%2B');
  t.equal(queryParam('?a=%c3%a9', 'a'), '%C3%A9');
  t.equal(queryParam('?a=%ff', 'a'), '%EF%BF%BD', 'not UTF-8: the replacement character');
  t.equal(queryParam('?__proto__=x', '__proto__'), 'x');
  t.equal(queryParam('?a', 'a'), '');
});

void t.test('refused', async (t) => {
  const refused: readonly (readonly [what: string, query: string, name: string])[] = [
    ['absent', '?a=1', 'b'],
    ['no query', '', 'a'],
    ['twice', '?a=1&a=1', 'a'],
    ['twice in two spellings', '?a=1&%61=2', 'a'],
    ['a name that we would encode', '?a!=1', 'a!'],
    ['a name in lower-case percent-encoding', '?%C3%A9=1', '%c3%a9'],
    ['a name of Object.prototype', '?a=1', 'constructor'],
  ];
  for (const [what, query, name] of refused)
    t.throws(() => queryParam(query, name), { name: 'MalformedBytes' }, what);
});

void t.test('any value comes out as visible ASCII that stands for it', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (value) => {
      const encoded = queryParam(`?${new URLSearchParams({ a: value }).toString()}`, 'a');
      return /^[A-Za-z0-9*._%-]*$/.test(encoded) && decodeURIComponent(encoded) === value;
    }),
  );
});
