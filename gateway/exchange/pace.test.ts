import { mock } from 'node:test';
import fc from 'fast-check';
import t from 'tap';
import { ScriptedInflow } from '../../conformance/builders/flows.ts';
import type { Sink } from '../core/flow.ts';
import { BEAT_MS, PacedInflow } from './pace.ts';

// Time is the test's own: the timers and the clock beside them.
mock.timers.enable({ apis: ['setTimeout'] });
let now = 1000;
const clock = { monotonic: () => now };

function pass(ms: number): void {
  for (let left = ms; left > 0; left -= BEAT_MS) {
    const step = Math.min(left, BEAT_MS);
    now += step;
    mock.timers.tick(step);
  }
}

class Collected implements Sink {
  readonly chunks: Buffer[] = [];
  over: 'ended' | 'failed' | undefined;
  onData: (() => void) | undefined;
  data(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.onData?.();
  }
  end(): void {
    this.over = 'ended';
  }
  error(): void {
    this.over = 'failed';
  }
  get length(): number {
    return this.chunks.reduce((sum, { length }) => sum + length, 0);
  }
}

function start(bytesPerSecond?: number) {
  const from = new ScriptedInflow();
  const pace = { bytesPerSecond };
  const paced = new PacedInflow(from, pace, clock);
  const to = new Collected();
  paced.start(to);
  return { from, paced, to, pace };
}

void t.test('without a rate chunks go through as they come', (t) => {
  const { from, paced, to } = start();
  const chunk = Buffer.from('abc');
  from.sink?.data(chunk);
  t.equal(to.chunks[0], chunk, 'the same buffer');
  paced.pause();
  t.ok(from.paused);
  paced.resume();
  t.notOk(from.paused);
  from.end();
  t.equal(to.over, 'ended');
  t.end();
});

void t.test('with a rate they take their time, in parts of the same memory', (t) => {
  const { from, to } = start(1_000_000);
  const chunk = Buffer.alloc(300_000, 'x');
  from.sink?.data(chunk);
  from.end();
  t.ok(from.paused, 'the transport waits');
  for (let beat = 1; beat <= 5; beat += 1) {
    pass(BEAT_MS);
    t.equal(to.length, beat * 50_000, 'something with each beat, and no more than the rate');
  }
  t.equal(to.over, undefined);
  pass(BEAT_MS);
  t.equal(to.length, chunk.length);
  t.equal(to.over, 'ended', 'the end comes behind the last byte');
  t.ok(
    to.chunks.every(({ buffer }) => buffer === chunk.buffer),
    'nothing is copied',
  );
  t.end();
});

void t.test('an idle stream saves up for a quarter of a second, not more', (t) => {
  const { from, to } = start(1000);
  pass(60_000);
  from.data(Buffer.alloc(1000));
  t.equal(to.length, 250);
  pass(750);
  t.equal(to.length, 1000);
  t.notOk(from.paused, 'goes on');
  t.end();
});

void t.test('a receiver that pauses is not served', (t) => {
  const { from, paced, to } = start(1000);
  from.data(Buffer.alloc(200));
  from.end();
  pass(BEAT_MS);
  t.equal(to.length, 50);
  paced.pause();
  pass(1000);
  t.equal(to.length, 50);
  paced.resume();
  t.equal(to.length, 200, 'it had saved up');
  t.equal(to.over, 'ended');
  t.end();
});

void t.test('the receiver pauses on the last piece: the end waits', (t) => {
  const { from, paced, to } = start(1000);
  to.onData = () => paced.pause();
  from.data(Buffer.alloc(50));
  from.end();
  pass(BEAT_MS);
  t.match([to.length, to.over], [50, undefined]);
  paced.resume();
  t.equal(to.over, 'ended');
  t.end();
});

void t.test('a transport that goes on all the same is asked again', (t) => {
  const { from, to } = start(1000);
  from.data(Buffer.alloc(100));
  from.resume();
  from.data(Buffer.alloc(100));
  t.ok(from.paused);
  pass(200);
  t.equal(to.length, 200);
  t.end();
});

void t.test('a rate that changes, goes or comes while it runs is taken at once', (t) => {
  const { from, to, pace } = start(1000);
  from.data(Buffer.alloc(10_000));
  pass(BEAT_MS);
  t.equal(to.length, 50);
  pace.bytesPerSecond = 2000;
  pass(BEAT_MS);
  t.equal(to.length, 150);
  pace.bytesPerSecond = undefined;
  pass(BEAT_MS);
  t.equal(to.length, 10_000);
  pace.bytesPerSecond = 1000;
  from.data(Buffer.alloc(10_000));
  t.ok(to.length <= 10_250);
  t.end();
});

void t.test('broken off, nothing comes any more', (t) => {
  const ended = start(10_000);
  ended.from.data(Buffer.alloc(1000));
  ended.paced.destroy(new Error('refused'));
  t.ok(ended.from.destroyed);
  const failed = start(10_000);
  failed.from.data(Buffer.alloc(1000));
  failed.from.error(new Error('cut off'));
  t.equal(failed.to.over, 'failed');
  const inside = start(10_000);
  inside.to.onData = () => inside.paced.destroy(new Error('too large'));
  inside.from.data(Buffer.alloc(1000));
  pass(1000);
  t.equal(inside.to.length, 500, 'broken off by the first piece');
  ended.from.data(Buffer.alloc(1));
  t.match([ended.to.length, failed.to.length], [0, 0]);
  t.end();
});

void t.test('whatever comes goes on, in order, and never faster than the rate', (t) => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 40 }), { maxLength: 8 }), fc.nat(3000), (texts, rest) => {
      const rate = 100 + rest;
      const { from, to } = start(rate);
      const began = now;
      let ok = true;
      to.onData = () => {
        ok &&= to.length <= ((now - began) * rate) / 1000;
      };
      from.data(...texts);
      from.end();
      for (let beats = 0; beats < 1000 && to.over === undefined; beats += 1) pass(BEAT_MS);
      return ok && to.over === 'ended' && Buffer.concat(to.chunks).toString() === texts.join('');
    }),
  );
  t.end();
});
