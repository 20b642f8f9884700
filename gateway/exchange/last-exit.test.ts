import { randomBytes } from 'node:crypto';
import t from 'tap';
import { Front } from '../server/front.ts';
import { consumer } from './consume.ts';
import type { Gateway } from './gateway.ts';

// A gateway that can do nothing at all: whatever the exchange tries fails, its refusal too. A rejection that nobody handles would
// end this program.
void t.test('an exchange whose refusal fails as well ends alone, and is told', async (t) => {
  const told: unknown[][] = [];
  const gateway = {
    random: randomBytes,
    clock: { now: Date.now, monotonic: () => performance.now() },
    observer: { started: () => undefined, trouble: (...all: unknown[]) => void told.push(all) },
  } as unknown as Gateway; // all else is missing, which is the fault
  const front = await Front.http({
    host: '127.0.0.1',
    port: 0,
    clock: gateway.clock,
    consume: consumer(gateway),
    limits: {},
    onFramingRefusal: () => undefined,
    refusalAnswer: () => t.fail('the request is well formed'),
  } as unknown as Parameters<typeof Front.http>[0]);
  t.teardown(() => front.close());
  await t.rejects(fetch(`http://127.0.0.1:${front.address.port}/r1/x`), 'the connection is broken');
  t.match(told.at(-1), [/^[\w-]{22}$/, 'gateway.internal', /observer\.finished is not a function\n +at /]);
});
