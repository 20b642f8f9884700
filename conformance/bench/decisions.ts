/**
 * What the decision on an exchange costs a gateway: what is unusual about the caller, the policy's input, its answer, and
 * how many of the questions had to be evaluated. Time is simulated, so that a caller has a norm.
 *
 *     node conformance/bench/decisions.ts [rounds [requests]]
 */
import { newExchangeId } from '../../gateway/core/ids.ts';
import { PolicyEngine } from '../../gateway/trust/engine.ts';
import { PolicyInput } from '../../gateway/trust/input.ts';
import {
  AGREEMENT,
  CLIENT,
  consumerFacts,
  NOW,
  providerFacts,
  shippedBundle,
} from '../../gateway/trust/proofs-fixture.ts';
import { CallerSignals } from '../../gateway/trust/signals.ts';
import { median } from './stats.ts';

const ROUNDS = Number(process.argv[2] ?? 9);
const REQUESTS = Number(process.argv[3] ?? 20_000);
const MINUTE_MS = 60_000;

const engine = PolicyEngine.load(shippedBundle());
const agreement = { ...AGREEMENT, fromMs: 0, untilMs: Number.MAX_SAFE_INTEGER };
const provider = providerFacts({ agreement });

/** A caller that has had a norm of this many requests a minute for a while. */
function settled(aMinute: number): CallerSignals {
  const signals = new CallerSignals();
  for (let minute = 10; minute > 0; minute--) {
    for (let i = 0; i < aMinute; i++) ask(signals, NOW - minute * MINUTE_MS);
  }
  return signals;
}

function ask(signals: CallerSignals, now: number) {
  const visit = signals.visit('192.0.2.1', now);
  visit.client(CLIENT);
  const facts = visit.facts();
  visit.ended({ ok: true, refused: false, bytes: 2048 }, now);
  return facts;
}

interface Work {
  readonly each: number;
  readonly evaluated: number;
}

/** @param question asked of the policy, and whether it had to be evaluated */
function round(
  aSecond: number,
  norm: number,
  decide: (facts: ReturnType<typeof ask>, now: number) => PolicyInput,
): Work {
  const signals = settled(norm);
  const questions = new Set<PolicyInput['question']>();
  const before = process.cpuUsage();
  for (let i = 0; i < REQUESTS; i++) {
    const now = NOW + Math.floor((i * 1000) / aSecond);
    questions.add(decide(ask(signals, now), now).question);
  }
  const { user, system } = process.cpuUsage(before);
  return { each: (user + system) / REQUESTS, evaluated: questions.size / REQUESTS };
}

const asConsumer = (signals: ReturnType<typeof ask>, now: number): PolicyInput => {
  const input = PolicyInput.forConsumer({ ...consumer, exchange: newExchangeId(), signals, now });
  engine.decide(input);
  return input;
};
const asProvider = (signals: ReturnType<typeof ask>, now: number): PolicyInput => {
  const input = PolicyInput.forProvider({ ...provider, signals, now });
  engine.decide(input);
  return input;
};
const consumer = consumerFacts({ agreement });

for (const [name, decide] of [
  ['consumer', asConsumer],
  ['provider', asProvider],
] as const) {
  for (const [what, aSecond, norm] of [
    ['steady load', 1000, 60_000],
    ['a burst above the norm', 1000, 60],
    ['a quiet caller', 1, 60],
  ] as const) {
    round(aSecond, norm, decide);
    const rounds = Array.from({ length: ROUNDS }, () => round(aSecond, norm, decide));
    const evaluated = rounds[0]?.evaluated ?? 0;
    process.stdout.write(
      `${name}, ${what}: ${median(rounds.map(({ each }) => each)).toFixed(1)} µs of CPU a request, ${(100 * evaluated).toFixed(2)} % evaluated\n`,
    );
  }
}

const { text } = PolicyInput.forConsumer(consumer);
const evaluations = Array.from({ length: ROUNDS }, () => {
  const before = process.cpuUsage();
  for (let i = 0; i < 3000; i++) engine.evaluate(text);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 3000;
});
process.stdout.write(
  `an evaluation: ${median(evaluations).toFixed(1)} µs (least ${Math.min(...evaluations).toFixed(1)})\n`,
);
