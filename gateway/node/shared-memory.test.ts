import { randomBytes } from 'node:crypto';
import t from 'tap';
import { PROOF_WINDOW_MS } from '../identity/dpop.ts';
import { allocateShared, onceOf, tender } from './shared-memory.ts';

/** A gateway's memory, and both clocks. */
function started() {
  const at = { wall: 1_795_305_600_000, monotonic: 5_000 };
  const memory = allocateShared(randomBytes, randomBytes(32));
  const clock = { now: () => at.wall, monotonic: () => at.monotonic };
  const tend = tender(memory, clock);
  const pass = (ms: number): void => {
    at.wall += ms;
    at.monotonic += ms;
    tend();
  };
  const { proofs } = onceOf(memory);
  return { at, tend, pass, claim: (id: string) => proofs.claim('c', id) };
}
const REPLAYED = { code: 'assertion.proof_replayed' };

void t.test('a clock that runs ahead and is set right again: what was used stays used', async (t) => {
  const { at, tend, pass, claim } = started();
  pass(1_000);
  claim('proof');
  at.wall += 3_600_000;
  pass(1_000);
  pass(1_000);
  at.wall -= 3_600_000;
  tend();
  t.throws(() => claim('proof'), REPLAYED, 'three seconds later its proof is as good as ever');
});

void t.test('a clock that is set back: what was used stays used until it has caught up', async (t) => {
  const { at, pass, claim } = started();
  claim('proof');
  at.wall -= 10 * PROOF_WINDOW_MS;
  for (let i = 0; i < 10; i++) pass(PROOF_WINDOW_MS);
  t.throws(() => claim('proof'), REPLAYED);
});

void t.test('the same after the machine has slept', async (t) => {
  const { at, tend, pass, claim } = started();
  at.wall += 2 * 24 * 3_600_000; // the other clock stood still
  tend();
  claim('proof');
  at.wall -= 10 * PROOF_WINDOW_MS;
  for (let i = 0; i < 10; i++) pass(PROOF_WINDOW_MS);
  t.throws(() => claim('proof'), REPLAYED);
});

void t.test('what has expired makes room', async (t) => {
  const { pass, claim } = started();
  claim('proof');
  pass(PROOF_WINDOW_MS);
  t.throws(() => claim('proof'), REPLAYED);
  pass(PROOF_WINDOW_MS);
  pass(PROOF_WINDOW_MS);
  claim('proof');
  t.pass();
});
