import t from 'tap';
import { formatComponent, formatString, type Component } from './component.ts';

void t.test('one spelling', async (t) => {
  const spelled: readonly (readonly [Component, string])[] = [
    [{ name: '@method' }, '"@method"'],
    [{ name: '@status' }, '"@status"'],
    [{ name: '@path', req: true }, '"@path";req'],
    [{ name: 'content-digest', req: true, tr: true }, '"content-digest";req;tr'],
    [{ name: 'signature-input', req: true, tr: true, key: 'final' }, '"signature-input";req;tr;key="final"'],
    [{ name: 'example-dict', key: 'a"\\b' }, '"example-dict";key="a\\"\\\\b"'],
    [{ name: '@query-param', param: 'fa%C3%A7ade%22%3A%20' }, '"@query-param";name="fa%C3%A7ade%22%3A%20"'],
    [{ name: '@query-param', req: true, param: '' }, '"@query-param";req;name=""'],
    [{ name: "!#$%&'*+-.^_`|~09az" }, '"!#$%&\'*+-.^_`|~09az"'],
    [{ name: '__proto__' }, '"__proto__"'],
    [{ name: 'constructor', key: 'constructor' }, '"constructor";key="constructor"'],
  ];
  for (const [component, text] of spelled) t.equal(formatComponent(component), text);
});

void t.test('what has no spelling', async (t) => {
  const refused: readonly (readonly [what: string, component: Component])[] = [
    ['an empty name', { name: '' }],
    ['capitals', { name: 'Content-Type' }],
    ['a quote in the name', { name: 'a": b\n"x' }],
    ['a space', { name: 'content type' }],
    ['a non-ASCII name', { name: 'datum-ü' }],
    ['@signature-params', { name: '@signature-params' }],
    ['@target-uri', { name: '@target-uri' }],
    ['@request-target', { name: '@request-target' }],
    ['@scheme', { name: '@scheme' }],
    ['an unknown derived component', { name: '@body' }],
    ['@ alone', { name: '@' }],
    ['@status of the request', { name: '@status', req: true }],
    ['a derived component in the trailers', { name: '@method', tr: true }],
    ['a member of a derived component', { name: '@query', key: 'a' }],
    ['@query-param without a name', { name: '@query-param' }],
    ['a parameter name for @query', { name: '@query', param: 'a' }],
    ['a parameter name for a field', { name: 'date', param: 'a' }],
    ['a line end in a key', { name: 'date', key: 'a\nb' }],
    ['a non-ASCII key', { name: 'date', key: 'ü' }],
    ['DEL in a parameter name', { name: '@query-param', param: '\u007f' }],
  ];
  for (const [what, component] of refused) {
    t.throws(() => formatComponent(component), { name: 'MalformedBytes' }, what);
  }
  t.throws(() => formatString('\t'), { name: 'MalformedBytes' });
});
