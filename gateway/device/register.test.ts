import fc from 'fast-check';
import t from 'tap';
import { CONTENT, KEYS, NOW, SIGNER } from '../../conformance/builders/ear.ts';
import type { RefusalCode } from '../core/refusals.ts';
import type { EarContent } from './ear.ts';
import { DeviceRegister } from './register.ts';
import { Revocations, signRevocations } from './revocations.ts';
import { compareAge, isWorse } from './worse.ts';

const denied = (code: RefusalCode) => Object.assign(new Error(), { name: 'Denied', code });
const SECONDS = CONTENT.issuedAt;

/** The n-th result of a device, a minute after the one before. */
const nth = (n: number, changes: Partial<EarContent> = {}): EarContent => ({
  ...CONTENT,
  id: `r${n}`,
  issuedAt: SECONDS + n * 60,
  sequence: CONTENT.sequence + n * 60_000,
  expiresAt: SECONDS + n * 60 + 180,
  ...changes,
});

/** Each is worse than {@link CONTENT} in one point. */
const WORSE: readonly (readonly [string, Partial<EarContent>])[] = [
  ['another tier', { tpm: { ...CONTENT.tpm, executables: 96 } }],
  ['a lesser claim of the same tier', { tpm: { ...CONTENT.tpm, configuration: 3 } }],
  ['a claim of the other sign', { tpm: { ...CONTENT.tpm, configuration: -2 } }],
  ['a claim that is not made any more', { tpm: { 'instance-identity': 2, hardware: 2, executables: 3 } }],
  ['a bad claim that was not made before', { tpm: { ...CONTENT.tpm, 'file-system': 32 } }],
  ['an item of health', { health: { ...CONTENT.health, antivirus: 32 } }],
  ['a start of the machine', { resetCount: 8 }],
  ['a resume of the machine', { restartCount: 1 }],
  ['another key', { bindingKey: { ...CONTENT.bindingKey, x: CONTENT.bindingKey.y } }],
  ['another half of a key', { bindingKey: { ...CONTENT.bindingKey, y: CONTENT.bindingKey.x } }],
  ['another enrolment', { epoch: 2 }],
  ['another class', { class: 'node', gateway: 'gw.b07.tw.troad.example' }],
];

for (const [what, changes] of WORSE) {
  void t.test(`62 ends what came before at once: ${what}`, async (t) => {
    const register = new DeviceRegister();
    const [good, worse] = [nth(0), nth(1, changes)];
    register.admit(good, SECONDS);
    register.admit(worse, SECONDS + 60);
    register.requireCurrent(worse);
    t.throws(() => register.requireCurrent(good), denied('device.superseded'));
    t.throws(() => register.admit(good, SECONDS + 60), denied('device.superseded'), 'nor is it taken again');
    const again = nth(2);
    if (compareAge(again, worse) > 0) {
      // It recovers; what the worse one ended stays ended.
      register.admit(again, SECONDS + 120);
      t.throws(() => register.requireCurrent(good), denied('device.superseded'));
    } else t.throws(() => register.admit(again, SECONDS + 120), denied('device.superseded'), '63 back again');
  });
}

void t.test('a weakness that was not known is worse, one that is gone is not', async (t) => {
  const one = { os: [202_100_044_228], applications: [] };
  const two = { os: [202_100_044_228], applications: [199_900_000_001] };
  for (const [former, next, worse] of [
    [undefined, one, false],
    [one, one, false],
    [two, one, false],
    [one, two, true],
    [one, undefined, true],
  ] as const) {
    t.equal(isWorse(nth(1, { cves: next }), nth(0, { cves: former })), worse);
  }
});

void t.test('a fault that is known, and nothing known: neither is better', async (t) => {
  const [fault, nothing] = [nth(0, { tpm: { hardware: 32 } }), nth(0, { tpm: { hardware: 0 } })];
  t.ok(isWorse(fault, nothing));
  t.ok(isWorse(nothing, fault));
});

void t.test('62 a result that is as good or better leaves the older one until it expires', async (t) => {
  const register = new DeviceRegister();
  const weak = nth(0, { health: { ...CONTENT.health, antivirus: 32 } });
  register.admit(weak, SECONDS);
  register.admit(nth(1), SECONDS + 60);
  register.requireCurrent(weak);
  register.admit(nth(2), SECONDS + 120);
  register.requireCurrent(nth(1));
  register.admit(nth(1), SECONDS + 120);
  t.doesNotThrow(() => register.requireCurrent(nth(2)), 'an older one that is shown again changes nothing');
});

void t.test('two of one second have an order', async (t) => {
  const register = new DeviceRegister();
  const at = (ms: number, changes: Partial<EarContent> = {}): EarContent => ({
    ...CONTENT,
    id: `at ${ms}`,
    sequence: CONTENT.sequence + ms,
    ...changes,
  });
  const bad = { tpm: { executables: 96 } };
  register.admit(at(0), SECONDS);
  register.admit(at(1, bad), SECONDS);
  t.throws(() => register.requireCurrent(at(0)), denied('device.superseded'));
  register.admit(at(2), SECONDS);
  register.requireCurrent(at(2));
  t.throws(() => register.requireCurrent(at(0)), denied('device.superseded'));
  t.throws(
    () => register.admit(at(2, { id: 'twin' }), SECONDS),
    denied('device.superseded'),
    'the same number',
  );
});

void t.test('the older one is shown after the newer one', async (t) => {
  const register = new DeviceRegister();
  register.admit(nth(1), SECONDS + 60);
  t.doesNotThrow(() => register.admit(nth(0), SECONDS + 60), 'another connection was slower');
  const worse = new DeviceRegister();
  worse.admit(nth(1, { tpm: { executables: 96 } }), SECONDS + 60);
  t.throws(() => worse.admit(nth(0), SECONDS + 60), denied('device.superseded'));
  worse.admit(nth(2), SECONDS + 120);
  t.throws(() => worse.admit(nth(0), SECONDS + 120), denied('device.superseded'), 'nor after it recovered');
});

void t.test(
  'a short-lived worse result speaks against longer-lived ones until these have expired',
  async (t) => {
    const register = new DeviceRegister();
    const long = nth(0, { expiresAt: SECONDS + 300 });
    register.admit(long, SECONDS);
    register.admit(nth(1, { tpm: { executables: 96 }, expiresAt: SECONDS + 65 }), SECONDS + 60);
    register.admit({ ...CONTENT, device: 'other', issuedAt: SECONDS + 200 }, SECONDS + 200);
    t.throws(() => register.requireCurrent(long), denied('device.superseded'));
  },
);

void t.test('what passes was never spoken against; what was never spoken against passes', async () => {
  const step = fc.record({
    n: fc.nat(5),
    executables: fc.constantFrom(2, 3, 32, 96),
    os: fc.constantFrom(2, 36),
    resetCount: fc.constantFrom(7, 7, 7, 8),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
      const register = new DeviceRegister();
      const seen: EarContent[] = [];
      for (const { n, executables, os, resetCount } of steps) {
        const tpm = { ...CONTENT.tpm, executables };
        const content = nth(n, {
          tpm,
          health: { ...CONTENT.health, os },
          resetCount,
          expiresAt: SECONDS + 300,
        });
        // A service gives one number to one result.
        if (seen.some(({ sequence }) => sequence === content.sequence)) continue;
        const wasPassed = passes(() => register.admit(content, SECONDS));
        if (wasPassed) seen.push(content);
      }
      for (const older of seen) {
        const newer = seen.filter((other) => compareAge(other, older) > 0);
        const isPassed = passes(() => register.requireCurrent(older));
        if (isPassed && newer.some((other) => isWorse(other, older))) return false;
        const isAllEqual = newer.every((other) => !isWorse(other, older) && !isWorse(older, other));
        if (!isPassed && isAllEqual) return false;
      }
      return true;
    }),
    { numRuns: 2000 },
  );
});

function passes(check: () => void): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}

void t.test('60 what is taken back goes by the number, within a second, too', async (t) => {
  const register = new DeviceRegister();
  const before = CONTENT.sequence + 1;
  const list = signRevocations([{ device: CONTENT.device, epoch: 1, before }], 1, SECONDS, SIGNER);
  register.admit(CONTENT, SECONDS);
  register.revoke(Revocations.open(list, KEYS), NOW);
  t.throws(() => register.requireCurrent(CONTENT), denied('device.revoked'));
  t.doesNotThrow(() => register.admit({ ...CONTENT, id: 'next', sequence: before }, SECONDS));
});
