import fc from 'fast-check';
import t from 'tap';
import { fromBase64 } from '../core/bytes.ts';
import { newExchangeId } from '../core/ids.ts';
import { formatExchange, parseExchange, type ExchangeField } from './exchange-field.ts';

const field: fc.Arbitrary<ExchangeField> = fc
  .record({
    id: fc
      .uint8Array({ minLength: 16, maxLength: 16 })
      .map((bytes) => newExchangeId(() => Buffer.from(bytes))),
    mode: fc.constantFrom('full', 'stream'),
    from: fc.constantFrom('gw.a', 'gw-1.a11.tw'),
    to: fc.constantFrom('gw.b', 'gw.b07.tw'),
    at: fc.nat(),
    length: fc.option(fc.nat(), { nil: undefined }),
  })
  .map(({ length, ...rest }) => (length === undefined ? rest : { ...rest, length }));

void t.test('parse(format(x)) = x, and the id is the same 16 bytes', async (t) => {
  fc.assert(
    fc.property(field, (one) => {
      const text = formatExchange(one);
      t.same(parseExchange(text), one);
      const [, id = ''] = /id=:([^:]*):/.exec(text) ?? [];
      t.equal(fromBase64(id)?.toString('base64url'), one.id);
    }),
    { numRuns: 300 },
  );
});

void t.test('what is read is what would be written: no value has two spellings', async () => {
  const changed = fc.tuple(field.map(formatExchange), fc.nat(200), fc.string({ maxLength: 2 }));
  fc.assert(
    fc.property(changed, ([text, at, put]) => {
      const near = text.slice(0, at % text.length) + put + text.slice((at % text.length) + put.length);
      try {
        return formatExchange(parseExchange(near)) === near;
      } catch {
        return true;
      }
    }),
    { numRuns: 3000 },
  );
});

void t.test('ids and numbers in another spelling are refused', async (t) => {
  const text = (id: string, at = '1', length = '0'): string =>
    `v=1, id=:${id}:, mode=full, from="a", to="b", at=${at}, len=${length}`;
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=';
  let read = 0;
  for (const last of alphabet) {
    const id = `${'A+/z'.repeat(5)}A${last}==`;
    if (fromBase64(id)?.length === 16) {
      t.equal(formatExchange(parseExchange(text(id))), text(id));
      read += 1;
    } else t.throws(() => parseExchange(text(id)), { code: 'message.inconsistent' }, last);
  }
  t.equal(read, 4, 'the last of 22 characters has two bits');
  const id = `${'A'.repeat(22)}==`;
  for (const number of ['01', '00', '+1', '1.0', '', '-0', '1e3', '1000000000000000']) {
    t.throws(() => parseExchange(text(id, number)), { code: 'message.inconsistent' }, `at=${number}`);
    t.throws(() => parseExchange(text(id, '1', number)), { code: 'message.inconsistent' }, `len=${number}`);
  }
});
