import fc from 'fast-check';
import type { Component } from '../../gateway/httpsig/component.ts';
import type { SignatureParams } from '../../gateway/httpsig/signature-input.ts';

const FIELD_NAME_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~".split('');

/** Field names, the treacherous ones among them. */
export const fieldName: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: fc.constantFrom(...FIELD_NAME_CHARS), minLength: 1, maxLength: 12 }),
  fc.constantFrom('__proto__', 'constructor', 'tostring', 'content-digest', 'signature-input'),
);

/** Any sf-string content: visible ASCII and space, quotes and backslashes often. */
export const sfString: fc.Arbitrary<string> = fc.string({
  unit: fc.oneof(
    fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 1 }),
    fc.constantFrom('"', '\\', ' '),
  ),
  maxLength: 12,
});

/** Leaves out what is undefined, as `exactOptionalPropertyTypes` wants it. */
const present = <T extends object>(value: T): T =>
  // A record minus its undefined entries is still the record.
  Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined)) as T;

const flag = fc.constantFrom(undefined, true as const);

const fieldComponent = fc
  .record({ name: fieldName, req: flag, tr: flag, key: fc.option(sfString, { nil: undefined }) })
  .map((parts) => present(parts) as Component); // `present` leaves no undefined

const derivedComponent = fc
  .record({ name: fc.constantFrom('@method', '@authority', '@path', '@query'), req: flag })
  .map((parts) => present(parts) as Component); // as above

const queryParamComponent = fc
  .record({ name: fc.constant('@query-param'), req: flag, param: sfString })
  .map((parts) => present(parts) as Component); // as above

/** Any component that has a spelling. */
export const component: fc.Arbitrary<Component> = fc.oneof(
  fieldComponent,
  derivedComponent,
  queryParamComponent,
  fc.constant<Component>({ name: '@status' }),
);

const time = fc.option(fc.nat({ max: 999_999_999_999_999 }), { nil: undefined });
const text = fc.option(sfString, { nil: undefined });

export const signatureParams: fc.Arbitrary<SignatureParams> = fc
  .record({ created: time, expires: time, nonce: text, alg: text, keyid: text, tag: text })
  .map((parts) => present(parts) as SignatureParams); // as above

/** A label, or any other dictionary key. */
export const dictionaryKey: fc.Arbitrary<string> = fc.oneof(
  fc.stringMatching(/^[a-z*][a-z0-9_.*-]{0,8}$/),
  fc.constantFrom('constructor', 'valueof', '*__proto__'),
);

/** One character of a text put in, taken out or replaced: what almost parses. */
export const mutated = (source: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(source, fc.nat(), fc.nat(2), fc.constantFrom(...' ,;=()":\\?@%-.01aA\t\n\u00e9'.split('')))
    .map(([whole, where, cut, put]) => {
      const at = where % (whole.length + 1);
      return `${whole.slice(0, at)}${cut === 1 ? '' : put}${whole.slice(at + (cut === 0 ? 0 : 1))}`;
    });
