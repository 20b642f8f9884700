import t from 'tap';
import { MalformedBytes } from '../core/errors.ts';
import { canonicalFields } from '../../conformance/builders/rfc9421.ts';
import { signatureBase } from './base.ts';
import type { Component } from './component.ts';
import { formatSignatureInput } from './signature-input.ts';
import type { MessageView, RequestView, ResponseView } from './view.ts';

const request: RequestView = {
  kind: 'request',
  method: 'POST',
  authority: 'www.example.com',
  path: '/parameters',
  query:
    '?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something',
  // RFC 9421 §2.1, with the dictionary of §2.1.2
  fields: canonicalFields([
    ['Host', 'www.example.com'],
    ['Date', 'Tue, 20 Apr 2021 02:07:56 GMT'],
    ['X-OWS-Header', '   Leading and trailing whitespace.  \t'],
    ['X-Obs-Fold-Header', 'Obsolete\r\n    line folding.'],
    ['Cache-Control', 'max-age=60'],
    ['Cache-Control', '   must-revalidate'],
    ['X-Empty-Header', ' '],
    ['Example-Dict', '  a=1,    b=2;x=1;y=2,   c=(a   b    c), d'],
    ['Tabbed', 'a\tb'],
    ['Signature-Input', 'open=("@method" "date");created=1;keyid="k", final=("@method");created=2'],
  ]),
};

const response: ResponseView = {
  kind: 'response',
  status: 200,
  fields: [
    ['content-type', 'text/plain'],
    ['trailer', 'Expires'],
    ['expires', 'header'],
  ],
  trailers: [['expires', 'Wed, 9 Nov 2022 07:28:00 GMT']],
  request,
};

/** Value of the one line that the component makes. */
function valueOf(view: MessageView, component: Component): string {
  const [line = '', last, ...rest] = signatureBase(view, [component], {}).split('\n');
  const identifier = formatSignatureInput([component], {}).slice(1, -1);
  if (
    !line.startsWith(`${identifier}: `) ||
    last !== `"@signature-params": (${identifier})` ||
    rest.length > 0
  ) {
    throw new Error(`not a base of one line: ${line}`);
  }
  return line.slice(identifier.length + 2);
}

void t.test('component values of RFC 9421 §2.1 and §2.2', async (t) => {
  const values: readonly (readonly [MessageView, Component, string])[] = [
    [request, { name: 'host' }, 'www.example.com'],
    [request, { name: 'x-ows-header' }, 'Leading and trailing whitespace.'],
    [request, { name: 'x-obs-fold-header' }, 'Obsolete line folding.'],
    [request, { name: 'cache-control' }, 'max-age=60, must-revalidate'],
    [request, { name: 'x-empty-header' }, ''],
    [request, { name: 'example-dict' }, 'a=1,    b=2;x=1;y=2,   c=(a   b    c), d'],
    [request, { name: 'example-dict', key: 'a' }, '1'],
    [request, { name: 'example-dict', key: 'd' }, '?1'],
    [request, { name: 'example-dict', key: 'b' }, '2;x=1;y=2'],
    [request, { name: 'example-dict', key: 'c' }, '(a b c)'],
    [request, { name: 'tabbed' }, 'a\tb'],
    [request, { name: 'signature-input', key: 'open' }, '("@method" "date");created=1;keyid="k"'],
    [request, { name: 'signature-input', key: 'final' }, '("@method");created=2'],
    [request, { name: '@method' }, 'POST'],
    [request, { name: '@authority' }, 'www.example.com'],
    [request, { name: '@path' }, '/parameters'],
    [request, { name: '@query' }, request.query],
    [{ ...request, query: '' }, { name: '@query' }, '?'],
    [{ ...request, query: '?' }, { name: '@query' }, '?'],
    [{ ...request, path: '' }, { name: '@path' }, '/'],
    [{ ...request, path: '/a/../b%2f//c' }, { name: '@path' }, '/a/../b%2f//c'],
    [{ ...request, method: 'pOsT' }, { name: '@method' }, 'pOsT'],
    [request, { name: '@query-param', param: 'var' }, 'this%20is%20a%20big%0Amultiline%20value'],
    [request, { name: '@query-param', param: 'bar' }, 'with%20plus%20whitespace'],
    [request, { name: '@query-param', param: 'fa%C3%A7ade%22%3A%20' }, 'something'],
    [response, { name: '@status' }, '200'],
    [response, { name: 'trailer' }, 'Expires'],
    [response, { name: 'expires' }, 'header'],
    [response, { name: 'expires', tr: true }, 'Wed, 9 Nov 2022 07:28:00 GMT'],
    [response, { name: '@method', req: true }, 'POST'],
    [response, { name: '@query-param', req: true, param: 'bar' }, 'with%20plus%20whitespace'],
    [response, { name: 'example-dict', req: true, key: 'c' }, '(a b c)'],
    [response, { name: 'signature-input', req: true, key: 'open' }, '("@method" "date");created=1;keyid="k"'],
  ];
  for (const [view, component, value] of values)
    t.equal(valueOf(view, component), value, JSON.stringify(component));
});

void t.test('what cannot be resolved', async (t) => {
  const { trailers: _, ...noTrailers } = response;
  const { request: __, ...noRequest } = response;
  const refused: readonly (readonly [what: string, MessageView, Component])[] = [
    ['a field that is not there', request, { name: 'etag' }],
    ['a field of Object.prototype', request, { name: 'constructor' }],
    ['a header asked for as a trailer', response, { name: 'content-type', tr: true }],
    ['a trailer asked for as a header', { ...response, fields: [] }, { name: 'expires' }],
    ['a trailer of a message that has none', noTrailers, { name: 'expires', tr: true }],
    ['req in a request', request, { name: '@method', req: true }],
    ['req of a field in a request', request, { name: 'date', req: true }],
    ['req without the request', noRequest, { name: '@method', req: true }],
    ['@status in a request', request, { name: '@status' }],
    ['@method of a response', response, { name: '@method' }],
    ['@query-param of a response', response, { name: '@query-param', param: 'bar' }],
    ['a member that is not there', request, { name: 'example-dict', key: 'e' }],
    ['a member named __proto__', request, { name: 'example-dict', key: '__proto__' }],
    ['a member of something that is no dictionary', request, { name: 'date', key: 'tue' }],
    ['a signature that is not there', request, { name: 'signature-input', key: 'other' }],
    ['a query parameter that is not there', request, { name: '@query-param', param: 'qux' }],
    ['a derived component we do not know', request, { name: '@target-uri' }],
    ['a status of two digits', { ...response, status: 99 }, { name: '@status' }],
    ['a status of four digits', { ...response, status: 1000 }, { name: '@status' }],
    ['a broken status', { ...response, status: 200.5 }, { name: '@status' }],
    ['a line end in a field', { ...request, fields: [['x', 'a\n"@method": GET']] }, { name: 'x' }],
    ['a carriage return in a field', { ...request, fields: [['x', 'a\r']] }, { name: 'x' }],
    ['NUL in a field', { ...request, fields: [['x', '\0']] }, { name: 'x' }],
    ['a non-ASCII field', { ...request, fields: [['x', '\u00e9']] }, { name: 'x' }],
    ['a line end in the path', { ...request, path: '/\n' }, { name: '@path' }],
    ['a tab in the path', { ...request, path: '/\t' }, { name: '@path' }],
    ['a line end in the authority', { ...request, authority: 'a\nb' }, { name: '@authority' }],
    ['a query without its question mark', { ...request, query: 'a=1' }, { name: '@query' }],
  ];
  for (const [what, view, component] of refused) {
    t.throws(() => signatureBase(view, [component], {}), { name: 'MalformedBytes' }, what);
  }
});

void t.test('no character but the allowed ones stands anywhere, and what is wrong is named', async (t) => {
  const components: readonly Component[] = [
    { name: '@method' },
    { name: '@path' },
    { name: 'x' },
    { name: 'date' },
  ];
  const list = '("@method" "@path" "x" "date")';
  for (let code = 0; code < 0x180; code++) {
    const bad = String.fromCharCode(code);
    const printable = code >= 0x20 && code <= 0x7e;
    for (const rest of ['', 'a'.repeat(300)]) {
      const base = (path: string, x: string, params: string): string =>
        signatureBase(
          {
            ...request,
            path,
            fields: [
              ['x', x],
              ['date', 'now'],
            ],
          },
          components,
          `${list}${params}`,
        );
      const path = `/${bad}${rest}`;
      const x = `${rest}${bad}b`;
      const params = `;keyid="${bad}${rest}"`;
      const outcomes = [
        [printable, () => base(path, 'x', ''), '@path'],
        [printable || bad === '\t', () => base('/', x, ''), 'x'],
        [printable, () => base('/', 'x', params), 'signature parameters'],
      ] as const;
      for (const [good, make, what] of outcomes) {
        let message = 'none';
        try {
          make();
        } catch (cause) {
          message = cause instanceof MalformedBytes ? cause.message : String(cause);
        }
        if (good ? message !== 'none' : !message.includes(what)) t.fail(`${code} in ${what}: ${message}`);
      }
    }
  }
  t.pass('one after the other');
});

void t.test('a component stands once', async (t) => {
  const twice: readonly Component[] = [{ name: 'date' }, { name: '@method' }, { name: 'date' }];
  t.throws(() => signatureBase(request, twice, {}), { name: 'MalformedBytes', message: /twice/ });
  const both: readonly Component[] = [{ name: 'expires' }, { name: 'expires', tr: true }];
  t.equal(
    signatureBase(response, both, {}),
    '"expires": header\n"expires";tr: Wed, 9 Nov 2022 07:28:00 GMT\n"@signature-params": ("expires" "expires";tr)',
    'header and trailer are two components',
  );
});

void t.test('the parameters list what the lines cover', async (t) => {
  const components: readonly Component[] = [{ name: '@method' }, { name: 'date' }];
  const good = '("@method" "date");created=1';
  const base = signatureBase(request, components, good);
  t.equal(base, `"@method": POST\n"date": Tue, 20 Apr 2021 02:07:56 GMT\n"@signature-params": ${good}`);
  t.equal(signatureBase(request, components, { created: 1 }), base, 'written by us or by the sender');
  t.equal(signatureBase(request, [], {}), '"@signature-params": ()', 'no components at all');
  for (const other of [
    '',
    '()',
    '("@method")',
    '("date" "@method");created=1',
    '("@method" "date" "host");created=1',
    '("@method" "date")created=1',
    '("@method"  "date");created=1',
    '("@method" "date");created=1\n"@method": GET',
    '("@method" "date");keyid="\u00e9"',
  ]) {
    t.throws(
      () => signatureBase(request, components, other),
      { name: 'MalformedBytes' },
      JSON.stringify(other),
    );
  }
});
