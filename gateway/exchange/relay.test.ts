import fc from 'fast-check';
import t from 'tap';
import { RecordingOutflow, ScriptedInflow } from '../../conformance/builders/flows.ts';
import { sha256Base64 } from '../core/bytes.ts';
import { NO_FIELDS, type Fields } from '../core/fields.ts';
import { BodyMeter } from '../message/digest.ts';
import type { Loan } from '../core/flow.ts';
import type { Permit } from './permit.ts';
import { relay, type RelayTerms } from './relay.ts';

const permit = undefined as unknown as Permit; // what a permit is made of is not this file's matter; relay only asks for one
const TERMS: RelayTerms = {
  length: undefined,
  maxBytes: 1000,
  idleMs: 1000,
  ceiling: { bytes: 1000, code: 'policy.request_too_large' },
  tooLarge: 'message.too_large',
  wrongLength: 'message.length_mismatch',
  stalled: 'message.stalled',
};
const OURS: Fields = [['t-road-end', 'len=3, ok']];

const start = (terms: Partial<RelayTerms>, complete = async (): Promise<Fields> => OURS, finishes = true) => {
  const from = new ScriptedInflow();
  const to = new RecordingOutflow(finishes);
  const done = relay(permit, from, to, new BodyMeter(), { ...TERMS, ...terms }, complete);
  done.catch(() => undefined);
  return { from, to, done };
};

void t.test('without a length the bytes pass at once and the end mark waits', async (t) => {
  let release: (fields: Fields) => void = () => undefined;
  const { from, to, done } = start({}, () => new Promise((resolve) => (release = resolve)));
  from.data('a', 'bc');
  t.equal(to.text, 'abc');
  from.end();
  await Promise.resolve();
  t.notOk(to.complete, 'not before it is verified and recorded');
  release(OURS);
  await done;
  t.equal(to.trailers, OURS);
});

void t.test('with a length the chunk that fills it waits', async (t) => {
  let release: (fields: Fields) => void = () => undefined;
  const { from, to, done } = start({ length: 3 }, () => new Promise((resolve) => (release = resolve)));
  from.data('ab', 'c');
  t.equal(to.text, 'ab', 'one byte short');
  from.end();
  await Promise.resolve();
  t.equal(to.text, 'ab');
  release(NO_FIELDS);
  await done;
  t.equal(to.text, 'abc');
});

void t.test('empty chunks release nothing', async (t) => {
  const { from, to } = start({ length: 2 });
  from.data('ab', '');
  t.equal(to.text, '');
});

void t.test('when the check fails the receiver is broken off, short', async (t) => {
  const { from, to, done } = start({ length: 3 }, () => Promise.reject(new Error('bad digest')));
  from.data('abc');
  from.end();
  await t.rejects(done, { message: 'bad digest' });
  t.ok(to.destroyed);
  t.notOk(to.complete);
  t.equal(to.text, '');
  t.ok(from.paused && from.destroyed === undefined, 'the sender may still be answered');
});

void t.test('a receiver that does not take the end is broken off, and nothing else', async (t) => {
  const { from, to, done } = start({});
  to.end = () => {
    throw new Error('more than the other side takes in a head');
  };
  from.data('abc');
  from.end();
  await t.rejects(done, { message: /takes in a head/ });
  t.ok(to.destroyed);
  await new Promise(setImmediate); // a rejection that nobody handles ends this program here
});

void t.test('refuses too much, too little and too many bytes', async (t) => {
  const over = start({ maxBytes: 2 });
  over.from.data('abc');
  await t.rejects(over.done, { code: 'message.too_large' });
  const more = start({ length: 2 });
  more.from.data('ab', 'c');
  await t.rejects(more.done, { code: 'message.length_mismatch' });
  const fewer = start({ length: 4 });
  fewer.from.data('abc');
  fewer.from.end();
  await t.rejects(fewer.done, { code: 'message.length_mismatch' });
  for (const { to } of [over, more, fewer]) t.ok(to.destroyed !== undefined && !to.complete);
});

void t.test('the policy may lower its ceiling while a body runs', async (t) => {
  const ceiling = { bytes: 4, code: 'policy.response_too_large' as const };
  let passed = 0;
  const { from, to, done } = start({ ceiling, passed: (bytes) => (passed += bytes) });
  from.data('abc', 'd');
  ceiling.bytes = 3;
  from.data('e');
  await t.rejects(done, { code: 'policy.response_too_large' });
  t.ok(to.destroyed !== undefined && !to.complete);
  t.equal(to.text, 'abcd');
  t.equal(passed, 4, 'only what went on is counted');
});

void t.test('what is held back is counted when it goes on', async (t) => {
  let passed = 0;
  const { from, done } = start({ length: 3, passed: (bytes) => (passed += bytes) });
  from.data('ab', 'c');
  t.equal(passed, 2);
  from.end();
  await done;
  t.equal(passed, 3);
});

void t.test(
  'memory that is used again as soon as it was written changes neither bytes nor digest',
  async (t) => {
    for (const length of [undefined, 9]) {
      const from = new ScriptedInflow();
      const to = new RecordingOutflow();
      to.write = (chunk: Buffer, loan?: Loan): boolean => {
        to.received.push(Buffer.from(chunk)); // as far as anybody outside can tell, it was written now
        loan?.done();
        return true;
      };
      const meter = new BodyMeter();
      const lent: boolean[] = [];
      const passed = (_bytes: number, was: boolean): void => void lent.push(was);
      void relay(permit, from, to, meter, { ...TERMS, length, passed }, async () => OURS);
      const memory = Buffer.alloc(3);
      for (const text of ['abc', 'def', 'ghi']) {
        let given = 0;
        memory.write(text);
        from.sink?.data(memory, { done: () => (given += 1) });
        const held = length !== undefined && text === 'ghi';
        t.equal(given, held ? 0 : 1, held ? 'what is held back is kept' : 'given back once');
        if (!held) memory.fill('x');
      }
      from.end();
      await new Promise(setImmediate);
      t.equal(to.text, 'abcdefghi');
      t.same(lent, [true, true, length === undefined], 'what was held back is garbage');
      t.equal(meter.digest(), sha256Base64('abcdefghi'));
    }
  },
);

void t.test('a broken sender and a gone receiver end it', async (t) => {
  const sender = start({});
  sender.from.data('abc');
  sender.from.error(new Error('cut off'));
  await t.rejects(sender.done, { message: 'cut off' });
  t.ok(sender.to.destroyed);
  const receiver = start({});
  receiver.from.data('abc');
  receiver.to.events?.error(new Error('gone'));
  await t.rejects(receiver.done, { message: 'gone' });
  receiver.from.data('more');
  receiver.from.end();
  t.notOk(receiver.to.complete, 'nothing moves afterwards');
});

void t.test('a slow receiver pauses the sender until it drains', async (t) => {
  const { from, to } = start({});
  to.roomy = false;
  from.data('a');
  t.ok(from.paused);
  to.events?.drain();
  t.notOk(from.paused);
});

void t.test('silence of either side is bounded', async (t) => {
  const sender = start({ idleMs: 20 });
  await t.rejects(sender.done, { code: 'message.stalled' });
  const receiver = start({ idleMs: 20 }, async () => OURS, false);
  receiver.from.data('abc');
  receiver.from.end();
  await t.rejects(receiver.done, { code: 'message.stalled' }, 'it took the bytes but never the end');
});

void t.test('how a body is cut into chunks changes nothing', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.string({ maxLength: 5 })), fc.boolean(), async (chunks, known) => {
      const body = chunks.join('');
      const length = Buffer.byteLength(body);
      const { from, to, done } = start(known ? { length } : {});
      from.data(...chunks);
      const before = to.text;
      from.end();
      await done;
      // With a known length at least one byte was held back, if there was one.
      return to.text === body && (!known || length === 0 || Buffer.byteLength(before) < length);
    }),
  );
});
