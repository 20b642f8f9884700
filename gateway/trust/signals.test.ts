import fc from 'fast-check';
import t from 'tap';
import { userKeyOf } from '../identity/claims.ts';
import { CallerSignals, type SignalFacts } from './signals.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** 09:00 UTC of some day. */
const T0 = 20_000 * DAY + 9 * HOUR;
const MIB = 1 << 20;

interface Asked {
  readonly at: number;
  readonly client?: string;
  readonly user?: string;
  readonly device?: string;
  readonly address?: string;
  readonly bytes?: number;
  readonly end?: 'ok' | 'refused' | 'failed';
}

function ask(signals: CallerSignals, asked: Asked): SignalFacts {
  const {
    at,
    client = 'TW/GOV/A11/welfare',
    user,
    device,
    address = '192.0.2.7',
    bytes = 0,
    end = 'ok',
  } = asked;
  const visit = signals.visit(address, at);
  visit.client(client);
  if (user !== undefined) visit.user(userKeyOf('https://idp.example', user));
  if (device !== undefined) visit.device('attestor', device);
  const facts = visit.facts();
  visit.ended({ ok: end === 'ok', refused: end === 'refused', bytes }, at);
  return facts;
}

/** A caller with weeks behind it: once a minute from 9 to 10, for ten days. */
function settled(asked: Omit<Asked, 'at'> = {}): { signals: CallerSignals; now: number } {
  const signals = new CallerSignals();
  for (let day = 0; day < 10; day++) {
    for (let minute = 0; minute < 60; minute++) {
      ask(signals, { ...asked, at: T0 + day * DAY + minute * MINUTE });
    }
  }
  return { signals, now: T0 + 10 * DAY };
}

void t.test('a newcomer is unknown in every respect', async (t) => {
  t.strictSame(ask(new CallerSignals(), { at: T0, device: 'd1' }), {
    address: 'new',
    device: 'new',
    hour: null,
    rate_percent: null,
    refusals: 0,
    volume_percent: null,
  });
});

void t.test('a settled caller is not', async (t) => {
  const { signals, now } = settled({ device: 'd1', user: 'u1', bytes: 1000 });
  t.strictSame(ask(signals, { at: now, device: 'd1', user: 'u1' }), {
    address: 'known',
    device: 'known',
    hour: 'usual',
    rate_percent: 25, // one of at least sixty: the first step
    refusals: 0,
    volume_percent: 0,
  });
  t.match(
    ask(signals, { at: now, device: 'd2', user: 'u1', address: '192.0.2.8' }),
    { address: 'new', device: 'new' },
    'another address, another machine',
  );
});

void t.test('each of the three has habits of its own; the worst counts', async (t) => {
  const { signals, now } = settled({ device: 'd1', user: 'u1' });
  t.match(ask(signals, { at: now, user: 'u2', device: 'd1' }), {
    address: 'new',
    device: 'new',
    hour: null,
    rate_percent: null,
  });
  t.match(ask(signals, { at: now, user: 'u1', device: 'd1' }), {
    address: 'known',
    device: 'known',
    hour: 'usual',
  });
  t.equal(ask(signals, { at: now }).device, null, 'no machine is no known machine');
});

void t.test('an address is known by an exchange that ended well, and forgotten after 30 days', async (t) => {
  const signals = new CallerSignals();
  for (const end of ['refused', 'failed'] as const) {
    ask(signals, { at: T0, end });
    t.equal(ask(signals, { at: T0, end }).address, 'new', `${end}: still new`);
  }
  ask(signals, { at: T0 });
  t.equal(ask(signals, { at: T0 + 30 * DAY, end: 'failed' }).address, 'known');
  t.equal(ask(signals, { at: T0 + 30 * DAY + 1, end: 'failed' }).address, 'new');
  ask(signals, { at: T0 });
  for (let i = 0; i < 8; i++) ask(signals, { at: T0, address: `198.51.100.${i}` });
  t.equal(ask(signals, { at: T0, address: '198.51.100.0' }).address, 'known');
  t.equal(ask(signals, { at: T0 }).address, 'new', 'eight are remembered');
});

void t.test('request rate against its own norm, which slowly follows', async (t) => {
  const { signals, now } = settled();
  const burst = Array.from({ length: 300 }, () => ask(signals, { at: now }).rate_percent ?? -1);
  t.equal(burst.at(59), 100, 'sixty are never a burst');
  t.equal(burst.at(-1), 500);
  t.equal(ask(signals, { at: now + MINUTE }).rate_percent, 25, 'the next minute begins at nothing');
  for (let minute = 2; minute < 60; minute++) {
    for (let i = 0; i < 300; i++) ask(signals, { at: now + minute * MINUTE });
  }
  t.ok((ask(signals, { at: now + 61 * MINUTE }).rate_percent ?? 99) <= 25);
  for (let i = 1; i < 300; i++) ask(signals, { at: now + 61 * MINUTE });
  const usual = ask(signals, { at: now + 61 * MINUTE }).rate_percent ?? 999;
  t.ok(usual <= 125, `after an hour of it that is the norm: ${usual} %`);
});

void t.test('percents are told in steps that no table of bounds on them can see', async (t) => {
  const { signals, now } = settled();
  const told = Array.from({ length: 1300 }, () => ask(signals, { at: now }).rate_percent ?? -1);
  t.same(
    [...new Set(told)],
    [25, 50, 75, 100, 125, 150, 175, 200, 250, 300, 350, 400, 500, 600, 700, 800, 1000, 1200, 1400, 1600, 2000, 2400],
  ); // prettier-ignore
  for (const [index, percent] of told.entries()) {
    const exact = Math.floor(((index + 1) * 100) / 60);
    if (percent < exact || percent > exact + Math.max(25, exact / 4)) t.fail(`${exact} told as ${percent}`);
    // The bounds of the shipped policy's data: what is told lies on the same side of each as what is.
    for (const bound of [150, 300, 500, 1000]) {
      if (percent <= bound !== exact <= bound) t.fail(`${exact} told as ${percent} crosses ${bound}`);
    }
  }
});

void t.test('volume', async (t) => {
  const { signals, now } = settled({ bytes: MIB });
  ask(signals, { at: now, bytes: 64 * MIB, end: 'failed' });
  t.equal(ask(signals, { at: now }).volume_percent, 400, 'bytes count however it ended');
  t.equal(ask(signals, { at: now + MINUTE }).volume_percent, 0);
});

void t.test('refusals of the last five to ten minutes; failures of ours are none', async (t) => {
  const signals = new CallerSignals();
  const start = Math.ceil(T0 / (5 * MINUTE)) * 5 * MINUTE;
  for (let i = 0; i < 3; i++) ask(signals, { at: start + 4 * MINUTE, end: 'refused' });
  ask(signals, { at: start + 4 * MINUTE, end: 'failed' });
  t.equal(ask(signals, { at: start + 4 * MINUTE }).refusals, 3);
  t.equal(ask(signals, { at: start + 9 * MINUTE }).refusals, 3);
  t.equal(ask(signals, { at: start + 10 * MINUTE }).refusals, 0);
  ask(signals, { at: start, end: 'refused' });
  t.equal(ask(signals, { at: start + 60 * MINUTE }).refusals, 0, 'long ago');
});

void t.test('an unusual hour, after five days', async (t) => {
  const { signals, now } = settled();
  for (const [hour, expected] of [[9, 'usual'], [10, 'usual'], [8, 'usual'], [7, 'unusual'], [11, 'unusual'], [21, 'unusual']] as const) {
    t.equal(ask(signals, { at: now + (hour - 9) * HOUR, end: 'failed' }).hour, expected, `${hour}:00`);
  } // prettier-ignore
  const young = new CallerSignals();
  for (let day = 0; day < 4; day++) ask(young, { at: T0 + day * DAY });
  t.equal(ask(young, { at: T0 + 4 * DAY + 12 * HOUR, end: 'failed' }).hour, null);
  ask(young, { at: T0 + 4 * DAY });
  t.equal(ask(young, { at: T0 + 4 * DAY + 12 * HOUR, end: 'failed' }).hour, 'unusual');
  // What becomes a habit is usual.
  for (let day = 10; day < 40; day++) ask(signals, { at: T0 + day * DAY + 12 * HOUR });
  t.equal(ask(signals, { at: T0 + 40 * DAY + 12 * HOUR, end: 'failed' }).hour, 'usual');
  // And what no longer is one fades.
  for (let day = 40; day < 400; day++) ask(signals, { at: T0 + day * DAY + 12 * HOUR });
  t.equal(ask(signals, { at: T0 + 400 * DAY, end: 'failed' }).hour, 'unusual');
});

void t.test('memory is bounded: who was unseen for longest is forgotten', async (t) => {
  const signals = new CallerSignals(100);
  for (let i = 0; i < 5000; i++)
    ask(signals, { at: T0 + i, client: `c${i}`, user: `u${i}`, device: `d${i}` });
  t.equal(signals.size, 100);
  ask(signals, { at: T0, client: 'kept' });
  for (let i = 0; i < 1000; i++) {
    ask(signals, { at: T0, client: `x${i}`, end: 'failed' });
    if (i % 50 === 0) t.equal(ask(signals, { at: T0, client: 'kept' }).address, 'known');
  }
  const long = 'n'.repeat(100_000);
  ask(signals, { at: T0, client: long });
  t.equal(ask(signals, { at: T0, client: long }).address, 'known', 'a long name costs no more');
  t.equal(ask(signals, { at: T0, client: `${long}x` }).address, 'new');
});

void t.test('whatever the order and the clock, facts are integers in their bounds', async () => {
  const request = fc.record({
    at: fc.integer({ min: 0, max: 3 * DAY }),
    client: fc.constantFrom('a', 'b'),
    address: fc.constantFrom('1', '2'),
    bytes: fc.nat(1e12),
    end: fc.constantFrom('ok' as const, 'refused' as const, 'failed' as const),
  });
  fc.assert(
    fc.property(fc.array(request, { maxLength: 200 }), (requests) => {
      const signals = new CallerSignals(3);
      return requests.every((asked) => {
        const { refusals, rate_percent, volume_percent } = ask(signals, asked);
        const percents = [rate_percent, volume_percent].every(
          (percent) =>
            percent === null || (Number.isSafeInteger(percent) && percent >= 0 && percent <= 100_000),
        );
        return percents && Number.isSafeInteger(refusals) && refusals >= 0 && signals.size <= 3;
      });
    }),
    { numRuns: 200 },
  );
});
