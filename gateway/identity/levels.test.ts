import t from 'tap';
import { ceilingOf, levelOf, type Assurance } from './levels.ts';

// RFC 8176 values, and the most they can stand for.
const table: readonly (readonly [amr: readonly string[], ceiling: Assurance, why: string])[] = [
  [['hwk', 'pin'], 3, 'a hardware key unlocked by a PIN'],
  [['hwk', 'fpt'], 3, 'or by a finger'],
  [['hwk', 'face'], 3, 'or by a face'],
  [['pin', 'hwk'], 3, 'in whatever order'],
  [['hwk', 'pin', 'user', 'mfa'], 3, 'with more said about it'],
  [['hwk', 'user', 'mfa'], 3, 'user present, and the issuer vouches for several factors'],
  [['hwk', 'user'], 1, 'touched, no more'],
  [['hwk'], 1, 'a key alone is one factor'],
  [['hwk', 'mfa'], 2, 'several factors, but which'],
  [['swk', 'pin', 'user', 'mfa'], 2, 'a synced passkey is no hardware'],
  [['hwk', 'swk', 'pin'], 2, 'a key that may be both is not hardware only'],
  [['pwd', 'otp'], 2, 'two factors'],
  [['pwd', 'sms'], 2, 'two factors'],
  [['sc', 'pin'], 2, 'a card: hardware or not, it was not said'],
  [['pwd', 'mfa'], 2, 'one named, several vouched for'],
  [['mfa'], 0, 'mfa alone names no method'],
  [['mfa', 'user', 'geo', 'rba'], 0, 'nor do these'],
  [['pwd'], 1, 'a password'],
  [['pwd', 'pin'], 1, 'two of one kind are one'],
  [['otp', 'sms'], 1, 'two of one kind are one'],
  [['fpt'], 1, 'a finger'],
  [['wia'], 0, 'what nobody listed'],
  [['HWK', 'PIN'], 0, 'in another case it is another value'],
  [['aal3', 'phr'], 0, 'levels are not methods'],
];
for (const [amr, ceiling, why] of table) {
  void t.test(`${amr.join(' ')}: at most AAL${ceiling}, ${why}`, async (t) => {
    t.equal(ceilingOf(amr), ceiling);
  });
}

void t.test('a level is never more than acr, and never more than amr', async (t) => {
  const levels: readonly Assurance[] = [0, 1, 2, 3];
  for (const aal of levels) {
    for (const [amr, ceiling] of table) {
      const level = levelOf({ ial: 1, aal }, amr, { encrypted: false, bound: false });
      t.equal(level.aal, Math.min(aal, ceiling));
    }
  }
});

void t.test('no claim is less than level 1', async (t) => {
  t.same(levelOf(undefined, ['hwk', 'pin'], { encrypted: true, bound: true }), { ial: 0, aal: 0, fal: 3 });
});
