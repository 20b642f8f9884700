import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { component, mutated, sfString, signatureParams } from '../../conformance/builders/components.ts';
import { base64 } from '../core/bytes.ts';
import type { Fields } from '../core/fields.ts';
import {
  formatParams,
  formatSignatureInput,
  parseSignatureInput,
  parseSignatures,
} from './signature-input.ts';
import { readUsual, readUsualMember } from './usual-input.ts';

const bag = (input: string, signature: string): Fields => [
  ['date', 'today'],
  ['signature-input', input],
  ['signature', signature],
];

/** As gateways write them. */
const ours = fc
  .record({
    components: fc.array(component, { maxLength: 6 }),
    created: fc.integer({ min: 1_000_000_000, max: 9_999_999_939 }),
    nonce: fc.constant(0).map(() => randomBytes(16).toString('base64url')),
    alg: fc.constantFrom({}, { alg: 'troad-batch' }),
    keyid: fc.oneof(fc.constantFrom('gw.a11.tw.troad.example#1', 'k'), sfString),
    tag: fc.constantFrom('troad1-final', 'troad1-open'),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 70 }),
  })
  .map(({ components, created, nonce, alg, keyid, tag, bytes }) => ({
    list: formatSignatureInput(components, {}),
    input: formatSignatureInput(components, { created, expires: created + 60, nonce, ...alg, keyid, tag }),
    value: base64(bytes),
  }));

/** What the quick reader makes of it is what the full one does, or nothing. */
function agrees(fields: Fields, label: string, list: string): 'read' | 'left' | 'differs' {
  const usual = readUsual(fields, label, list);
  if (usual === undefined) return 'left';
  const all = parseSignatures(fields); // must not throw
  const full = all.get(label);
  if (full === undefined || all.size !== 1) return 'differs';
  const { input, signature } = full;
  const same =
    formatParams(usual.params) === formatParams(input.params) &&
    usual.raw === input.raw &&
    input.raw === formatSignatureInput(input.components, input.params) &&
    list === formatSignatureInput(input.components, {}) &&
    Buffer.from(signature).equals(usual.signature) &&
    usual.value === base64(signature);
  return same ? 'read' : 'differs';
}

function memberAgrees(text: string, label: string): 'read' | 'left' | 'differs' {
  const raw = readUsualMember(text, label);
  if (raw === undefined) return 'left';
  const all = parseSignatureInput(text); // must not throw
  return all.size === 1 && all.get(label)?.raw === raw ? 'read' : 'differs';
}

void t.test('what gateways write is read, and as the full reader reads it', async () => {
  fc.assert(
    fc.property(ours, ({ list, input, value }) => {
      parseSignatureInput(`final=${input}`);
      return (
        agrees(bag(`final=${input}`, `final=:${value}:`), 'final', list) === 'read' &&
        memberAgrees(`final=${input}`, 'final') === 'read'
      );
    }),
    { numRuns: 1000 },
  );
});

void t.test('whatever else there is', async () => {
  const changed = ours.chain(({ list, input, value }) =>
    fc.oneof(
      fc.record({
        list: fc.constant(list),
        input: mutated(fc.constant(`final=${input}`)),
        signature: fc.constant(`final=:${value}:`),
      }),
      fc.record({
        list: fc.constant(list),
        input: mutated(mutated(fc.constant(`final=${input}`))),
        signature: mutated(fc.constant(`final=:${value}:`)),
      }),
      fc.record({
        list: mutated(fc.constant(list)),
        input: fc.constant(`final=${input}`),
        signature: fc.constant(`final=:${value}:`),
      }),
    ),
  );
  fc.assert(
    fc.property(changed, ({ list, input, signature }) => {
      return agrees(bag(input, signature), 'final', list) !== 'differs';
    }),
    { numRuns: 5000 },
  );
  fc.assert(
    fc.property(changed, ({ input }) => memberAgrees(input, 'final') !== 'differs'),
    { numRuns: 3000 },
  );
  fc.assert(
    fc.property(fc.array(component, { maxLength: 3 }), signatureParams, (components, params) => {
      const input = `final=${formatSignatureInput(components, params)}`;
      parseSignatureInput(input);
      const list = formatSignatureInput(components, {});
      return (
        agrees(bag(input, 'final=:AAEC:'), 'final', list) !== 'differs' &&
        memberAgrees(input, 'final') !== 'differs'
      );
    }),
    { numRuns: 1000 },
  );
});

void t.test('near misses are left to the full reader', async (t) => {
  const list = '("@method" "date")';
  const behind = ';created=1795305600;expires=1795305660;nonce="abc";keyid="k";tag="t"';
  const good = bag(`final=${list}${behind}`, 'final=:AAEC:');
  t.equal(agrees(good, 'final', list), 'read');
  const left: readonly (readonly [string, Fields])[] = [
    ['no fields', []],
    ['no signature', good.slice(0, 2)],
    ['no input', [['date', 'today'], ...good.slice(2)]],
    ['two inputs', [...good, ['signature-input', `final=${list}${behind}`]]],
    ['two signatures', [...good, ['signature', 'final=:AAEC:']]],
    ['another label', bag(`open=${list}${behind}`, 'open=:AAEC:')],
    ['a longer label', bag(`finale=${list}${behind}`, 'finale=:AAEC:')],
    ['a label that differs between the two', bag(`final=${list}${behind}`, 'finax=:AAEC:')],
    ['another member', bag(`final=${list}${behind}, open=()`, 'final=:AAEC:, open=:AAEC:')],
    ['another list', bag(`final=("@method")${behind}`, 'final=:AAEC:')],
    ['a longer list', bag(`final=("@method" "date" "x")${behind}`, 'final=:AAEC:')],
    ['no time', bag(`final=${list};nonce="abc";keyid="k";tag="t"`, 'final=:AAEC:')],
    [
      'a time of nine digits',
      bag(`final=${list}${behind.replace('=1795305600', '=179530560')}`, 'final=:AAEC:'),
    ],
    [
      'a time of eleven',
      bag(`final=${list}${behind.replace('=1795305600', '=17953056000')}`, 'final=:AAEC:'),
    ],
    ['a leading zero', bag(`final=${list}${behind.replace('=1795305600', '=0795305600')}`, 'final=:AAEC:')],
    ['a sign', bag(`final=${list}${behind.replace('=1795305600', '=-795305600')}`, 'final=:AAEC:')],
    ['a time that ends the text', bag(`final=${list};created=1795305600;expires=17953`, 'final=:AAEC:')],
    [
      'no end of the nonce',
      bag(`final=${list};created=1795305600;expires=1795305660;nonce="abc`, 'final=:AAEC:'),
    ],
    ['a nonce with an escape', bag(`final=${list}${behind.replace('abc', 'a\\"c')}`, 'final=:AAEC:')],
    ['an unknown parameter', bag(`final=${list}${behind};x="y"`, 'final=:AAEC:')],
    ['a parameter twice', bag(`final=${list}${behind};nonce="abc"`, 'final=:AAEC:')],
    [
      'another order',
      bag(`final=${list}${behind.replace('keyid="k";tag="t"', 'tag="t";keyid="k"')}`, 'final=:AAEC:'),
    ],
    ['a needless escape', bag(`final=${list}${behind.replace('"k"', '"\\k"')}`, 'final=:AAEC:')],
    ['a long key id', bag(`final=${list}${behind.replace('"k"', `"${'k'.repeat(2000)}"`)}`, 'final=:AAEC:')],
    ['base64 without its padding', bag(`final=${list}${behind}`, 'final=:AAE:')],
    ['base64url', bag(`final=${list}${behind}`, 'final=:_-_-:')],
    ['bits behind the end', bag(`final=${list}${behind}`, 'final=:AAF=:')],
    ['no closing colon', bag(`final=${list}${behind}`, 'final=:AAEC')],
    ['one colon', bag(`final=${list}${behind}`, 'final=:')],
    ['something behind the colon', bag(`final=${list}${behind}`, 'final=:AAEC:;x')],
  ];
  for (const [what, fields] of left) t.equal(agrees(fields, 'final', list), 'left', what);
  t.equal(memberAgrees(`final=("never" "read")${behind}`, 'final'), 'left', 'a list that was not read');
});

void t.test('more keys than are kept are read all the same', async (t) => {
  const list = '("@method")';
  for (let i = 0; i < 1000; i++) {
    const input = `final=${list};created=1795305600;expires=1795305660;nonce="abc";keyid="k${i}";tag="t"`;
    t.equal(readUsual(bag(input, 'final=:AAEC:'), 'final', list)?.params.keyid, `k${i}`);
  }
});
