import t from 'tap';
import { Lending } from './lending.ts';

void t.test('a buffer comes back with its last holder, and not before', async (t) => {
  const lending = new Lending(64, 2);
  const lent = lending.take();
  const { bytes } = lent;
  const loans = [lent.share(), lent.share()];
  lent.done();
  loans[0]?.done();
  t.not(lending.take().bytes, bytes, 'somebody still reads it');
  loans[1]?.done();
  t.equal(lending.take().bytes, bytes, 'nobody reads it');
});

void t.test('giving back twice is a mistake that is told, for it would hand bytes to two', async (t) => {
  const lending = new Lending(64, 2);
  const lent = lending.take();
  lent.done();
  t.throws(() => lent.done(), /twice/);
  t.throws(() => lent.share(), /after/);
  t.not(lending.take().bytes, lending.take().bytes);
});

void t.test('keeps no more than it was told, and forgets what never comes back', async (t) => {
  const lending = new Lending(64, 1);
  const [one, two] = [lending.take(), lending.take()];
  lending.take(); // never given back
  one.done();
  two.done();
  t.equal(lending.take().bytes, one.bytes);
  t.not(lending.take().bytes, two.bytes, 'the second was one too many');
});
