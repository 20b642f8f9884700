import t from 'tap';
import { ASSERTION } from './refusals/assertion.ts';
import { DEVICE } from './refusals/device.ts';
import { GATEWAY } from './refusals/gateway.ts';
import { MESSAGE } from './refusals/message.ts';
import { POLICY } from './refusals/policy.ts';
import { REQUEST } from './refusals/request.ts';
import { SERVICE } from './refusals/service.ts';
import { REFUSALS } from './refusals.ts';

void t.test('no code stands in two areas: one of the rows would be lost', async (t) => {
  const codes = [REQUEST, ASSERTION, MESSAGE, DEVICE, POLICY, SERVICE, GATEWAY].flatMap((rows) =>
    Object.keys(rows),
  );
  t.strictSame(Object.keys(REFUSALS), codes, 'all of them, in the order of the areas');
  t.equal(new Set(codes).size, codes.length);
});
