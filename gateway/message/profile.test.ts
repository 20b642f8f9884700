import fc from 'fast-check';
import t from 'tap';
import type { Fields } from '../core/fields.ts';
import { signatureBase } from '../httpsig/base.ts';
import { formatSignatureInput } from '../httpsig/signature-input.ts';
import type { RequestView } from '../httpsig/view.ts';
import { END, type Mode } from './exchange-field.ts';
import {
  DIGEST,
  INPUT,
  requestComponents,
  requestCoverage,
  responseComponents,
  responseCoverage,
  type Label,
} from './profile.ts';

// Few names, so that shapes come again; more shapes than are kept, so that they go as well.
const names = fc.shuffledSubarray([
  'x-road-client',
  'x-road-id',
  't-road-exchange',
  'content-type',
  DIGEST,
  INPUT,
  'signature',
  'etag',
]);
const value = fc.constantFrom(
  'a',
  '',
  'a b',
  '"x"',
  'final=("@method");created=1',
  'open=();tag="t"',
  'a\nb',
);
const fields: fc.Arbitrary<Fields> = names.chain((all) =>
  fc.tuple(...all.map((name) => value.map((text) => [name, text] as const))),
);
const mode = fc.constantFrom<Mode>('full', 'stream');
const label = fc.constantFrom<Label>('open', 'final');
const trailers = fc.constantFrom<Fields | undefined>(undefined, [
  [DIGEST, 'd'],
  [END, 'len=1, ok'],
]);
const request: fc.Arbitrary<RequestView> = fc
  .tuple(fc.constantFrom('GET', 'POST'), fc.constantFrom('/a', '/a\nb'), fields, trailers)
  .map(([method, path, bag, behind]) => ({
    kind: 'request',
    method,
    authority: 'gw.b',
    path,
    query: '?q',
    fields: bag,
    ...(behind === undefined ? {} : { trailers: behind }),
  }));

/** What came of it: a text, or the reason why there is none. */
function outcome(compose: () => string): string {
  try {
    return compose();
  } catch (cause) {
    return String(cause);
  }
}

void t.test('a prepared coverage says what its components say, made anew for each message', async () => {
  fc.assert(
    fc.property(request, mode, label, (view, how, use) => {
      const components = requestComponents(view.fields, how, use);
      const anew = outcome(() => signatureBase(view, components, { created: 1 }));
      const prepared = outcome(() => {
        const coverage = requestCoverage(view.fields, how, use);
        return coverage.base(view, ';created=1');
      });
      return anew === prepared;
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(
      request,
      fields,
      mode,
      label,
      mode,
      label,
      trailers,
      (asked, bag, how, use, bm, bl, behind) => {
        const view = { kind: 'response', status: 200, fields: bag, request: asked } as const;
        const whole = behind === undefined ? view : { ...view, trailers: behind };
        const binding = { mode: bm, label: bl };
        const components = responseComponents(bag, how, use, binding);
        const anew = outcome(() => signatureBase(whole, components, formatSignatureInput(components, {})));
        const prepared = outcome(() => {
          const coverage = responseCoverage(bag, how, use, binding);
          return coverage.base(whole, '');
        });
        return anew === prepared;
      },
    ),
    { numRuns: 2000 },
  );
});

void t.test('a shape is told by its names, all of them and in their order', async (t) => {
  const bag = (...all: string[]): Fields => all.map((name) => [name, 'v']);
  const list = (...all: string[]): string => requestCoverage(bag(...all), 'full', 'final').list;
  for (let round = 0; round < 2; round++) {
    t.equal(list('a', 'b'), '("@method" "@authority" "@path" "@query" "a" "b")');
    t.equal(list('b', 'a'), '("@method" "@authority" "@path" "@query" "b" "a")');
    t.equal(list('a'), '("@method" "@authority" "@path" "@query" "a")');
    t.equal(list('a', 'b', 'c'), '("@method" "@authority" "@path" "@query" "a" "b" "c")');
    t.throws(() => list('a', 'a'), { name: 'MalformedBytes', message: /twice/ });
  }
  t.equal(requestCoverage(bag('a'), 'full', 'final'), requestCoverage(bag('a'), 'full', 'final'), 'kept');
  for (let i = 0; i < 1000; i++) list(`x-${i}`);
  t.equal(list('a', 'b'), '("@method" "@authority" "@path" "@query" "a" "b")', 'after many others');
});
