import { calibrate } from './gauge.ts';
import { checkSamples, checkSubject, CHECK_EXCHANGES } from './gates.ts';
import { openLab } from './lab.ts';
import { closedLoop } from './load-closed.ts';
import { measure, type Sample } from './measure.ts';
import { cellName, connectionsOf, FOREIGN_LIMIT, isOfUsers, type Cell, type Plan } from './plan.ts';
import { treeMemory } from './procfs.ts';
import type { Answered, Connections, Gate, Subject, SubjectKind } from './subjects/subject.ts';

/** Everything a run found out, before anything is concluded from it. */
export interface Run {
  readonly samples: readonly Sample[];
  readonly gates: readonly Gate[];
  /** By subject: versions, suites, peak resident memory of each gateway. */
  readonly subjects: Readonly<Record<string, Readonly<Record<string, string | number>>>>;
  /** Milliseconds that the calibration job took when the run began. */
  readonly normalMs: number;
  /** How many cells were measured again because strangers used the machine. */
  readonly repeated: number;
}

const rotated = <T>(list: readonly T[], by: number): readonly T[] =>
  list.map((_, index) => list[(index + by) % list.length] as T); // the index is inside the list

const mostConnections = ({ cells }: Plan): number =>
  Math.max(...cells.map((cell) => (cell.load === 'closed' ? cell.connections : 1)));

const NONE: Answered = { exchanges: 0, ofUsers: 0 };

const busiest = (samples: readonly Sample[]): number =>
  Math.max(...samples.map(({ surroundings }) => surroundings.foreign));

/**
 * Runs the plan. All subjects live from beginning to end; an idle one costs nothing.
 * @throws Void when a gate fails
 */
export async function runPlan(
  plan: Plan,
  kinds: readonly SubjectKind[],
  say: (line: string) => void,
  interrupt: AbortSignal,
): Promise<Run> {
  const lab = await openLab(plan.payloadBytes);
  const running: Subject[] = [];
  const gates: Gate[] = [];
  const answered = new Map<string, Answered>();
  const tally = ({ name }: Subject, count: number, byUser: boolean): void => {
    const { exchanges, ofUsers } = answered.get(name) ?? NONE;
    answered.set(name, { exchanges: exchanges + count, ofUsers: ofUsers + (byUser ? count : 0) });
  };
  try {
    for (const kind of kinds) running.push(await kind.start(lab));
    say('checking all subjects'); // at once: a slow reader spends its time waiting
    const checks = running.map((subject) => () => checkSubject(subject, lab));
    const attacks = kinds.map((kind) => () => kind.attack?.(lab) ?? []);
    for (const checked of await together([...checks, ...attacks], (check) => check())) gates.push(...checked);
    for (const subject of running) tally(subject, CHECK_EXCHANGES, false);
    if (gates.some(({ passed }) => !passed)) throw new Void(gates);
    const warm = async (
      subject: Subject,
      count: number,
      seconds: number,
      how: Connections,
    ): Promise<number> => {
      interrupt.throwIfAborted();
      const { requests } = await closedLoop(await subject.userTarget(how), count, seconds);
      tally(subject, requests, true);
      return requests;
    };
    const { requests, seconds, leadSeconds } = plan.warm;
    say('warming all subjects'); // at once: nothing is measured yet
    await together(running, async (subject) => {
      let done = 0;
      for (let n = 0; n < seconds && done < requests; n += 1) done += await warm(subject, 64, 1, 'kept');
      await warm(subject, mostConnections(plan), 1, 'kept'); // or the first round would pay for their handshakes
    });

    const normalMs = calibrate();
    const compared = running.filter(({ gateways }) => gateways.length > 0);
    const samples: Sample[] = [];
    let repeated = 0;
    for (let round = 0; round < plan.rounds; round += 1) {
      // Without gateways there is no TLS to connect over.
      const withDirect = ({ load }: Cell): boolean => round < plan.directRounds && load !== 'churn';
      for (const cell of plan.cells) {
        let kept: readonly Sample[] = [];
        for (let attempt = 0; attempt < plan.attempts; attempt += 1) {
          const tried: Sample[] = [];
          // Whoever comes first finds the machine in another state: take turns.
          for (const subject of rotated(withDirect(cell) ? running : compared, round)) {
            interrupt.throwIfAborted();
            if ('connections' in cell && leadSeconds > 0)
              await warm(subject, cell.connections, leadSeconds, connectionsOf(cell));
            const sample = await measure(cell, subject, lab, round, normalMs);
            tally(subject, sample.exchanges, isOfUsers(cell));
            tried.push(sample);
          }
          if (attempt > 0) repeated += 1;
          if (kept.length === 0 || busiest(tried) < busiest(kept)) kept = tried;
          if (busiest(kept) <= FOREIGN_LIMIT) break;
        }
        samples.push(...kept);
        say(`round ${round + 1} of ${plan.rounds}: ${cellName(cell)}`);
      }
    }
    gates.push(...checkSamples(samples));

    const subjects = Object.fromEntries(
      running.map((subject) => [subject.name, { ...subject.context, ...peakRss(subject) }]),
    );
    for (const subject of running) {
      await subject.stop();
      gates.push(...(await subject.audit(answered.get(subject.name) ?? NONE)));
    }
    if (gates.some(({ passed }) => !passed)) throw new Void(gates);
    return { samples, gates, subjects, normalMs, repeated };
  } finally {
    await Promise.all(running.map((subject) => subject.stop()));
    await lab.close();
  }
}

/** @throws what failed first, once all have ended: nobody works on when the lab closes */
async function together<S, T>(all: readonly S[], each: (one: S) => Promise<T> | T): Promise<readonly T[]> {
  const done = await Promise.allSettled(all.map(async (one) => each(one)));
  return done.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  });
}

const peakRss = (subject: Subject): Record<string, number> =>
  Object.fromEntries(
    subject.gateways.map(({ role, pid }) => [`${role}PeakRssMiB`, Math.round(treeMemory(pid).peakMiB)]),
  );

/** A gate failed: there are no figures. */
export class Void extends Error {
  override readonly name = 'Void';
  constructor(gates: readonly Gate[]) {
    const failed = gates.filter(({ passed }) => !passed).map(({ name, detail }) => `${name}: ${detail}`);
    super(`the run is void:\n  ${failed.join('\n  ')}`);
  }
}
