import t from 'tap';
import { PolicyDenied } from '../trust/grant.ts';
import { deviceRefusalFor } from './device-refusal.ts';

const refusal = (...reasons: readonly string[]) => {
  const denied = new PolicyDenied({
    allow: false,
    reasons: reasons.map((reason) => `admission.${reason}`),
    obligations: {},
    tier: 'none',
    score: 0,
    threshold: 0,
    resultDigest: '',
    decisionId: 'x',
    agreementId: 'a',
    bundleDigest: '',
    entrypoint: '',
    inputBytes: Buffer.alloc(0),
  });
  const made = deviceRefusalFor(denied, 'gw.a11.example');
  return made && [made.code, ...made.answerFields.flat()];
};
const CHALLENGE = ['www-authenticate', 'T-Road-Device audience="gw.a11.example"'];

void t.test('each reason has its code; where another result would help, it says for whom', async (t) => {
  t.strictSame(refusal('device_required'), ['device.required', ...CHALLENGE]);
  t.strictSame(refusal('device_expired'), ['device.expired', ...CHALLENGE]);
  t.strictSame(refusal('device_unbound'), ['device.binding']);
  t.strictSame(refusal('device_too_weak'), ['device.insufficient']);
  t.strictSame(refusal('device_unhealthy'), ['device.insufficient']);
  t.strictSame(refusal('node_required'), ['device.node_required']);
  t.strictSame(refusal('node_expired'), ['device.node_required']);
  t.strictSame(refusal('node_unbound'), ['device.node_insufficient']);
  t.strictSame(refusal('node_too_weak'), ['device.node_insufficient']);
  t.strictSame(refusal('node_unhealthy'), ['device.node_insufficient']);
});

void t.test("the requester's own machine is told before the peer's", async (t) => {
  t.strictSame(refusal('node_required', 'device_too_weak'), ['device.insufficient']);
  t.strictSame(refusal('device_unhealthy', 'device_unbound'), ['device.binding']);
});

void t.test('when anything else stands in the way, no other machine would help', async (t) => {
  t.equal(refusal('device_required', 'method_not_agreed'), undefined);
  t.equal(refusal('method_not_agreed'), undefined);
});
