import fc from 'fast-check';
import t from 'tap';
import { newExchangeId, parseExchangeId, parseSubsystemId, toUuid } from './ids.ts';

void t.test('a UUID has the same 128 bits', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      const id = newExchangeId(() => Buffer.from(bytes));
      const uuid = toUuid(id);
      return (
        uuid.replaceAll('-', '') === Buffer.from(bytes).toString('hex') &&
        /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid) &&
        parseExchangeId(id) === id
      );
    }),
  );
});

void t.test('an identifier has one spelling, however often it is read', async (t) => {
  const good = [
    'TW/GOV/A11/welfare',
    'TW/GOV/A11/a%2Fb',
    'TW/GOV/A11/%E6%94%BF',
    `TW/GOV/A11/${'x'.repeat(255)}`,
  ];
  const bad = [
    '',
    'TW/GOV/A11',
    'TW/GOV/A11/welfare/',
    'TW/GOV/A11/welfare/echo',
    'TW/GOV//welfare',
    'TW/GOV/../welfare',
    'TW/GOV/A11/wel fare',
    'TW/GOV/A11/%2f',
    'TW/GOV/A11/%41',
    'TW/GOV/A11/%FF',
    'TW/GOV/A11/a%00b',
    'TW/GOV/A11/a%5Cb',
    'TW/GOV/A11/政',
    `TW/GOV/A11/${'x'.repeat(256)}`,
  ];
  for (const round of ['at first', 'again']) {
    for (const text of good) t.equal(parseSubsystemId(text), text, round);
    for (const text of bad) t.equal(parseSubsystemId(text), undefined, `${text} ${round}`);
  }
  for (let i = 0; i < 3000; i += 1) t.equal(parseSubsystemId(`TW/GOV/A11/s${i}`), `TW/GOV/A11/s${i}`);
  for (const text of bad) t.equal(parseSubsystemId(text), undefined, `${text} after many`);
});
