import fc from 'fast-check';
import t from 'tap';
import { MalformedBytes } from '../core/errors.ts';
import { booleanOf, DerReader, oidText, TAG, timeOf } from './der.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const malformed = { name: 'MalformedBytes' };
const time = (tag: number, text: string) => {
  const content = Buffer.from(text, 'latin1');
  return timeOf({ tag, content, raw: content });
};

void t.test('reads values one after the other', async (t) => {
  const reader = new DerReader(hex('02 01 05  04 00  30 81 80'), 'x');
  t.same([...reader.take(TAG.integer).content], [5]);
  t.equal(reader.takeIf(TAG.integer), undefined);
  t.equal(reader.take(TAG.octetString).content.length, 0);
  t.throws(() => reader.any(), malformed, 'a length of 128 with nothing behind it');
  const long = Buffer.concat([hex('04 82 01 00'), Buffer.alloc(256, 7)]);
  const value = new DerReader(long, 'x').any();
  t.equal(value.content.length, 256);
  t.equal(value.raw.length, 260);
});

const refused: readonly (readonly [what: string, bytes: string])[] = [
  ['an indefinite length', '30 80 00 00'],
  ['a long form for a short length', '04 81 01 00'],
  ['a leading zero in the length', '04 82 00 80'],
  ['a length of four bytes', '04 84 00 00 00 01 00'],
  ['a tag of two bytes', '1f 81 01 00'],
  ['a missing length', '04'],
  ['a missing length byte', '04 82 01'],
  ['a missing byte', '04 02 00'],
];
for (const [what, bytes] of refused) {
  void t.test(`refuses ${what}`, async (t) => {
    t.throws(() => new DerReader(hex(bytes), 'x').any(), malformed);
  });
}

void t.test('refuses another tag and bytes left over', async (t) => {
  const reader = new DerReader(hex('02 01 05 00'), 'x');
  t.throws(() => reader.take(TAG.sequence), malformed);
  const other = new DerReader(hex('02 01 05 00'), 'x');
  other.any();
  t.throws(() => other.finish(), malformed);
});

void t.test('object identifiers have one spelling', async (t) => {
  t.equal(oidText(hex('2a 86 48 86 f7 0d 01 01 0b')), '1.2.840.113549.1.1.11');
  t.equal(oidText(hex('88 37 03')), '2.999.3', 'X.660: arcs under 2 may exceed 39');
  for (const bad of ['', '2a 86', '2a 80 01', 'ff ff ff ff ff ff ff ff 7f', '2a'.repeat(33)]) {
    t.throws(() => oidText(hex(bad)), malformed, bad);
  }
});

void t.test('booleans are 00 or ff', async (t) => {
  t.equal(booleanOf(hex('ff')), true);
  t.equal(booleanOf(hex('00')), false);
  for (const bad of ['', '01', 'ffff']) t.throws(() => booleanOf(hex(bad)), malformed, bad);
});

void t.test('times are UTC, to the second, and exist', async (t) => {
  t.equal(time(TAG.utcTime, '261122000000Z'), Date.UTC(2026, 10, 22));
  t.equal(time(TAG.utcTime, '500101000000Z'), Date.UTC(1950, 0, 1));
  t.equal(time(TAG.utcTime, '491231235959Z'), Date.UTC(2049, 11, 31, 23, 59, 59));
  t.equal(time(TAG.generalizedTime, '20500101000000Z'), Date.UTC(2050, 0, 1));
  t.equal(
    time(TAG.generalizedTime, '99991231235959Z'),
    Date.UTC(9999, 11, 31, 23, 59, 59),
    'RFC 5280: no end',
  );
  for (const bad of [
    '2611220000Z',
    '261122000000+0800',
    '260230000000Z',
    '261322000000Z',
    '261122240000Z',
    '261122006000Z',
    '',
  ]) {
    t.throws(() => time(TAG.utcTime, bad), malformed, bad);
  }
  for (const bad of ['20260230000000Z', '20261122000000.5Z', '261122000000Z', '20261122000000']) {
    t.throws(() => time(TAG.generalizedTime, bad), malformed, bad);
  }
  t.throws(() => time(TAG.octetString, '261122000000Z'), malformed);
});

void t.test('any bytes are read exactly or refused as malformed', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        const reader = new DerReader(bytes, 'x');
        const parts: Uint8Array[] = [];
        while (!reader.atEnd) parts.push(reader.any().raw);
        return Buffer.concat(parts).equals(bytes);
      } catch (thrown) {
        return thrown instanceof MalformedBytes;
      }
    }),
  );
});
