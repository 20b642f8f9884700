import fc from 'fast-check';
import t from 'tap';
import { KnownTexts } from './known-texts.ts';

void t.test('what is known of a text is known of that very text', async () => {
  // Few characters, so that texts are often alike in a piece, or in all.
  const text = fc
    .string({ unit: fc.constantFrom('a', 'b'), maxLength: 6 })
    .map((end) => 'x'.repeat(45) + end);
  const short = fc.string({ unit: fc.constantFrom('a', '\u00ff'), maxLength: 3 });
  fc.assert(
    fc.property(fc.array(fc.oneof(text, short), { maxLength: 60 }), fc.nat(5), (texts, ending) => {
      const known = new KnownTexts<{ text: string }>(1000, ending);
      return texts.every((each, i) => {
        const found = known.find(each);
        if (i % 2 === 0) known.keep(each, { text: each });
        return found === undefined || found.text === each;
      });
    }),
  );
});

void t.test('any changed character is another text', async (t) => {
  const known = new KnownTexts<object>(10, 7);
  const text = 'A'.repeat(200);
  const value = {};
  known.keep(text, value);
  t.equal(known.find(['A'.repeat(100), 'A'.repeat(100)].join('')), value);
  for (let at = 0; at < text.length; at += 1)
    if (known.find(`${text.slice(0, at)}B${text.slice(at + 1)}`) !== undefined) t.fail(`changed at ${at}`);
  t.equal(known.find(text.slice(1)), undefined);
  t.equal(known.find(`${text}A`), undefined);
  t.equal(known.find(''), undefined);
});

void t.test(
  'a text with other characters is known neither as itself nor as what is left of it',
  async (t) => {
    const known = new KnownTexts<object>(10);
    known.keep('\u0141', {});
    t.equal(known.find('\u0141'), undefined);
    t.equal(known.find('A'), undefined);
  },
);

void t.test('forgets what was kept longest rather than grows', async (t) => {
  const known = new KnownTexts<{ i: number }>(10);
  for (let i = 0; i < 100; i++) known.keep(`text ${i}`, { i });
  const kept = Array.from({ length: 100 }, (_, i) => known.find(`text ${i}`)?.i).filter(
    (i) => i !== undefined,
  );
  t.same(kept, [90, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
  known.keep('text 90', { i: 90 });
  known.keep('text 100', { i: 100 });
  t.equal(known.find('text 90')?.i, 90, 'kept again');
  t.equal(known.find('text 91'), undefined);
});
