import { calibrate } from './gauge.ts';
import { checkSamples, checkSubject, CHECK_EXCHANGES } from './gates.ts';
import { openLab } from './lab.ts';
import { closedLoop } from './load-closed.ts';
import { measure, type Sample } from './measure.ts';
import { cellName, FOREIGN_LIMIT, type Plan } from './plan.ts';
import { peakRssMiB } from './procfs.ts';
import type { Gate, Subject, SubjectKind } from './subjects/subject.ts';

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
  const exchanges = new Map<string, number>();
  const tally = (subject: Subject, count: number): void => {
    exchanges.set(subject.name, (exchanges.get(subject.name) ?? 0) + count);
  };
  try {
    for (const kind of kinds) running.push(await kind.start(lab));
    for (const subject of running) {
      say(`checking ${subject.name}`);
      gates.push(...(await checkSubject(subject, lab)));
      tally(subject, CHECK_EXCHANGES);
    }
    if (gates.some(({ passed }) => !passed)) throw new Void(gates);
    const warm = async (subject: Subject, connections: number, seconds: number): Promise<number> => {
      interrupt.throwIfAborted();
      const { requests } = await closedLoop(subject.target('bench', '/echo'), connections, seconds);
      tally(subject, requests);
      return requests;
    };
    const { requests, seconds, leadSeconds } = plan.warm;
    for (const subject of running) {
      say(`warming ${subject.name}`);
      let done = 0;
      for (let n = 0; n < seconds && done < requests; n += 1) done += await warm(subject, 64, 1);
    }

    const normalMs = calibrate();
    const samples: Sample[] = [];
    let repeated = 0;
    for (let round = 0; round < plan.rounds; round += 1) {
      for (const cell of plan.cells) {
        let kept: readonly Sample[] = [];
        for (let attempt = 0; attempt < plan.attempts; attempt += 1) {
          const tried: Sample[] = [];
          // Whoever comes first finds the machine in another state: take turns.
          for (const subject of rotated(running, round)) {
            interrupt.throwIfAborted();
            if (cell.load === 'closed' && leadSeconds > 0) await warm(subject, cell.connections, leadSeconds);
            const sample = await measure(cell, subject, lab, round, normalMs);
            tally(subject, sample.exchanges);
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
      gates.push(...(await subject.audit(exchanges.get(subject.name) ?? 0)));
    }
    if (gates.some(({ passed }) => !passed)) throw new Void(gates);
    return { samples, gates, subjects, normalMs, repeated };
  } finally {
    await Promise.all(running.map((subject) => subject.stop()));
    await lab.close();
  }
}

const peakRss = (subject: Subject): Record<string, number> =>
  Object.fromEntries(
    subject.gateways.map(({ role, pid }) => [`${role}PeakRssMiB`, Math.round(peakRssMiB(pid))]),
  );

/** A gate failed: there are no figures. */
export class Void extends Error {
  override readonly name = 'Void';
  constructor(gates: readonly Gate[]) {
    const failed = gates.filter(({ passed }) => !passed).map(({ name, detail }) => `${name}: ${detail}`);
    super(`the run is void:\n  ${failed.join('\n  ')}`);
  }
}
