import fc from 'fast-check';
import t from 'tap';
import { hasControls, inOnePiece, isAscii, isPlain } from './plain-text.ts';

/** Around the lengths where another way is taken. */
const LENGTHS = [0, 1, 63, 64, 65, 500, 32 * 1024 - 1, 32 * 1024];

/** Texts as they are, put together from pieces, and cut out of a longer one: the engine keeps each another way. */
const forms = (text: string): readonly string[] => {
  const half = Math.floor(text.length / 2);
  return [text, text.slice(0, half) + text.slice(half), `\0${text}\n\u3042`.slice(1, 1 + text.length)];
};

void t.test(
  'every character is judged the same in a text of any length, at its ends and within',
  async (t) => {
    for (let code = 0; code < 0x180; code++) {
      const bad = String.fromCharCode(code);
      const plain = code === 0x09 || (code >= 0x20 && code <= 0x7e);
      for (const length of LENGTHS) {
        for (const before of new Set([0, Math.floor(length / 2), length])) {
          const whole = `${'a'.repeat(before)}${bad}${'b'.repeat(length - before)}`;
          for (const text of length > 1000 ? [whole] : forms(whole)) {
            if (isPlain(text) !== plain) t.fail(`plain: ${code} behind ${before} of ${length}`);
            if (isAscii(text) !== code < 0x80) t.fail(`ASCII: ${code} behind ${before} of ${length}`);
            const control = (code < 0x20 || code === 0x7f) && ![0x09, 0x0a, 0x0d].includes(code);
            if (hasControls(text) !== control) t.fail(`controls: ${code} behind ${before} of ${length}`);
          }
        }
      }
    }
    t.pass('as one character after the other');
  },
);

void t.test('a text in one piece is the same text', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (whole) =>
      forms(whole).every((text) => inOnePiece(text) === whole),
    ),
  );
});

void t.test('long texts of long characters, around what there is room for', async (t) => {
  for (const bad of ['\xe9', '\u3042', '\u{1f600}', '\ud800']) {
    for (const length of [32 * 1024 - 2, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 96 * 1024]) {
      for (let many = 1; many < 6; many++) {
        const text = bad.repeat(many).padStart(length, 'a');
        t.notOk(isAscii(text), `${many} at the end of ${length}`);
        t.notOk(isAscii(bad.repeat(many).padEnd(length, 'a')), `${many} at the beginning`);
      }
      t.notOk(isAscii(bad.repeat(length / bad.length)), `${length}, all of them`);
      t.ok(isAscii('a'.repeat(length)));
    }
  }
});

void t.test('any text', async () => {
  const unit = fc.oneof(
    { weight: 40, arbitrary: fc.constantFrom('a', '~', ' ', '\t', '='.repeat(40)) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('\0', '\n', '\r', '\x1f', '\x7f', '\x80', '\xff', '\u0141', '\ud800'),
    },
  );
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 120 }), (whole) =>
      forms(whole).every(
        (text) =>
          isPlain(text) === /^[\t\x20-\x7e]*$/.test(text) &&
          isAscii(text) === /^[\0-\x7f]*$/.test(text) &&
          hasControls(text) === /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text),
      ),
    ),
  );
});
