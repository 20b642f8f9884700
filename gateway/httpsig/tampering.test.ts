import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { fieldName } from '../../conformance/builders/components.ts';
import { base64 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import type { Field, Fields } from '../core/fields.ts';
import { ALGORITHM_NAMES, signBase, verifyBase, type AlgorithmName } from './algorithm.ts';
import { signatureBase } from './base.ts';
import type { Component } from './component.ts';
import { formatSignatureInput, parseSignatures } from './signature-input.ts';
import type { RequestView, ResponseView } from './view.ts';

const keys = {
  ed25519: generateKeyPairSync('ed25519'),
  'ecdsa-p256-sha256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
} as const satisfies Partial<Record<AlgorithmName, unknown>>;
type Tested = keyof typeof keys;

/** An answer with its request, both with trailers: everything a signature can cover. */
interface Exchange {
  readonly request: Required<RequestView>;
  readonly response: Required<ResponseView>;
}

const value = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 20 });
const bag: fc.Arbitrary<Fields> = fc.uniqueArray(fc.tuple(fieldName, value), {
  selector: ([name]) => name,
  minLength: 1,
  maxLength: 4,
});
const request = fc.record({
  kind: fc.constant('request' as const),
  method: fc.constantFrom('GET', 'POST'),
  authority: fc.constantFrom('a', 'b.example'),
  path: fc.constantFrom('/', '/r1/TW/GOV/A11'),
  query: fc.constantFrom('?', '?a=1&b=%20'),
  fields: bag,
  trailers: bag,
});
const exchange: fc.Arbitrary<Exchange> = fc
  .record({ request, status: fc.integer({ min: 100, max: 999 }), fields: bag, trailers: bag })
  .map((parts) => ({ request: parts.request, response: { kind: 'response', ...parts } }));

const named = (fields: Fields, flags: Omit<Component, 'name'>): Component[] =>
  fields.map(([name]) => ({ name, ...flags }));

const everything = ({ request: asked, response }: Exchange): readonly Component[] => [
  { name: '@status' },
  ...named(response.fields, {}),
  ...named(response.trailers, { tr: true }),
  ...['@method', '@authority', '@path', '@query'].map((name) => ({ name, req: true as const })),
  ...named(asked.fields, { req: true }),
  ...named(asked.trailers, { req: true, tr: true }),
];

/** Signs the answer; gives back the two signature fields. */
function signed(subject: Exchange, algorithm: Tested): Fields {
  const components = everything(subject);
  const input = formatSignatureInput(components, {
    created: 1,
    expires: 61,
    nonce: 'n',
    keyid: 'k',
    tag: 't',
  });
  const signature = signBase(
    algorithm,
    keys[algorithm].privateKey,
    signatureBase(subject.response, components, input),
  );
  return [
    ['signature-input', `s=${input}`],
    ['signature', `s=:${base64(signature)}:`],
  ];
}

/** What a verifier concludes about an answer and its signature fields. Only MalformedBytes counts as a refusal. */
function accepts({ request: asked, response }: Exchange, fields: Fields, algorithm: Tested): boolean {
  try {
    const found = parseSignatures(fields).get('s');
    if (found === undefined) return false;
    const base = signatureBase({ ...response, request: asked }, found.input.components, found.input.raw);
    return verifyBase(algorithm, keys[algorithm].publicKey, base, found.signature);
  } catch (thrown) {
    if (thrown instanceof MalformedBytes) return false;
    throw thrown;
  }
}

type Flip = (text: string) => string;

/** The exchange with one of its covered texts changed; `place` counts through all of them. */
function withChange(subject: Exchange, place: number, flip: Flip): Exchange {
  const asked = subject.request;
  const { response } = subject;
  const at = (fields: Fields, index: number): Fields =>
    fields.map(([name, text], i): Field => [name, i === index ? flip(text) : text]);
  const onRequest = (change: Partial<RequestView>): Exchange => ({
    ...subject,
    request: { ...asked, ...change },
  });
  const onResponse = (change: Partial<ResponseView>): Exchange => ({
    ...subject,
    response: { ...response, ...change },
  });
  const changes: (() => Exchange)[] = [
    () => onRequest({ method: flip(asked.method) }),
    () => onRequest({ authority: flip(asked.authority) }),
    () => onRequest({ path: flip(asked.path) }),
    () => onRequest({ query: flip(asked.query) }),
    () => onResponse({ status: Number(flip(String(response.status))) }),
    ...asked.fields.map((_, i) => () => onRequest({ fields: at(asked.fields, i) })),
    ...asked.trailers.map((_, i) => () => onRequest({ trailers: at(asked.trailers, i) })),
    ...response.fields.map((_, i) => () => onResponse({ fields: at(response.fields, i) })),
    ...response.trailers.map((_, i) => () => onResponse({ trailers: at(response.trailers, i) })),
  ];
  return changes[place % changes.length]?.() ?? subject;
}

/** Flips one bit of one byte; the top bit too, which makes it non-ASCII. */
const flipper = fc.tuple(fc.nat(), fc.nat(7)).map(([where, bit]): Flip => (text) => {
  const bytes = Buffer.from(text, 'latin1');
  const at = where % bytes.length;
  bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
  return bytes.toString('latin1');
});

for (const algorithm of Object.keys(keys) as Tested[] /* the keys of a literal */) {
  void t.test(`${algorithm}: one bit of one covered byte`, async (t) => {
    t.ok(ALGORITHM_NAMES.includes(algorithm));
    fc.assert(
      fc.property(exchange, fc.nat(), flipper, (subject, place, flip) => {
        const fields = signed(subject, algorithm);
        if (!accepts(subject, fields, algorithm)) throw new Error('the untouched message does not verify');
        return !accepts(withChange(subject, place, flip), fields, algorithm);
      }),
      { numRuns: 400 },
    );
  });

  void t.test(`${algorithm}: one bit of the signature fields`, async () => {
    fc.assert(
      fc.property(exchange, fc.nat(1), flipper, (subject, which, flip) => {
        const fields = signed(subject, algorithm);
        const changed = fields.map(([name, text], i): Field => [name, i === which ? flip(text) : text]);
        return !accepts(subject, changed, algorithm);
      }),
      { numRuns: 400 },
    );
  });
}

void t.test('moved, dropped, swapped', async () => {
  fc.assert(
    fc.property(exchange, (subject) => {
      const { request: asked, response } = subject;
      const fields = signed(subject, 'ed25519');
      const merged = [...new Map([...response.fields, ...response.trailers])];
      const others: Exchange[] = [
        { ...subject, response: { ...response, fields: response.fields.slice(1) } },
        { ...subject, response: { ...response, trailers: response.trailers.slice(1) } },
        { ...subject, response: { ...response, fields: merged, trailers: [] } },
        { ...subject, request: { ...asked, trailers: asked.trailers.slice(1) } },
        { ...subject, request: { ...asked, fields: asked.fields.slice(1) } },
      ];
      // Headers for trailers is a change unless the two happen to be the same.
      const sorted = (list: Fields): string =>
        list
          .map((field) => JSON.stringify(field))
          .toSorted((a, b) => (a < b ? -1 : 1))
          .join();
      if (sorted(response.fields) !== sorted(response.trailers)) {
        const swapped = { ...response, fields: response.trailers, trailers: response.fields };
        others.push({ ...subject, response: swapped });
      }
      return others.every((other) => !accepts(other, fields, 'ed25519'));
    }),
    { numRuns: 200 },
  );
});

void t.test('M10: an answer verifies with its own request only', async () => {
  fc.assert(
    fc.property(exchange, request, (subject, other) => {
      const fields = signed(subject, 'ed25519');
      const same = JSON.stringify(other) === JSON.stringify(subject.request);
      const verdict = accepts({ ...subject, request: other }, fields, 'ed25519');
      // Fields of the other request that the signature does not name are nobody's business here.
      const covers = (a: Fields, b: Fields): boolean =>
        a.every(([name, text]) => b.some(([n, v]) => n === name && v === text));
      const { method, authority, path, query } = subject.request;
      const equal =
        other.method === method &&
        other.authority === authority &&
        other.path === path &&
        other.query === query &&
        covers(subject.request.fields, other.fields) &&
        covers(subject.request.trailers, other.trailers);
      return verdict === equal && (!same || verdict);
    }),
    { numRuns: 200 },
  );
});
