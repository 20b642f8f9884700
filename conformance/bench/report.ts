/** From samples to conclusions: ratios within rounds, medians over rounds, tables for people. */
import type { Batching } from './batching.ts';
import type { Context } from './context.ts';
import type { FigureName, Sample } from './measure.ts';
import type { Plan } from './plan.ts';
import type { Run } from './rounds.ts';
import {
  compareRounds,
  difference,
  quantile,
  ratio,
  spread,
  type RoundFigures,
  type Spread,
} from './stats.ts';
import type { Gate } from './subjects/subject.ts';

export const OURS = 'troad';
export const YARDSTICK = 'nginx';

/** The file results.json. */
export interface Results {
  readonly plan: Plan;
  readonly context: Context;
  /** Ours against nginx → nginx, medians over rounds. Empty when one of the two did not run. */
  readonly ratios: Readonly<Record<string, number>>;
  /** The same with least and greatest round. */
  readonly spreads: Readonly<Record<string, Spread>>;
  /** Of ours, by load: what one signature and one write to the log served, medians over rounds. */
  readonly batching: Readonly<Record<string, Sample['batching']>>;
  readonly gates: readonly Gate[];
  readonly rounds: readonly Sample[];
}

/** What is compared: name in `ratios`, cell, figure. `ratio` is ours / theirs, `difference` ours − theirs. */
interface Comparison {
  readonly name: string;
  readonly cell: string;
  readonly figure: FigureName;
  readonly compare: typeof ratio | typeof difference;
}

function comparisons(cells: readonly string[]): readonly Comparison[] {
  return cells.flatMap((cell): Comparison[] => {
    if (cell === 'ttfb') return [{ name: 'ttfb.extraMs', cell, figure: 'firstByteMs', compare: difference }];
    if (cell.startsWith('bulk.')) {
      return [
        { name: `cpu.${cell}`, cell, figure: 'cpuSecondsPerGiB', compare: ratio },
        { name: `wall.${cell}`, cell, figure: 'mbPerSecond', compare: ratio },
      ];
    }
    const cpu: Comparison = { name: `cpu.${cell}`, cell, figure: 'cpuUs', compare: ratio };
    if (!cell.startsWith('open')) return [cpu];
    return [
      cpu,
      { name: `${cell}.p50.extraMs`, cell, figure: 'p50Ms', compare: difference },
      { name: `${cell}.p99.extraMs`, cell, figure: 'p99Ms', compare: difference },
    ];
  });
}

/** One cell's figure, round by round, of every subject. */
function figuresByRound(
  samples: readonly Sample[],
  cell: string,
  figure: FigureName,
): readonly RoundFigures[] {
  const ofCell = samples.filter((sample) => sample.cell === cell);
  return [...new Set(ofCell.map(({ round }) => round))].map((round) => {
    const entries = ofCell
      .filter((sample) => sample.round === round)
      .map(({ subject, figures }): [string, number | undefined] => [subject, figures[figure]]);
    return new Map(entries.filter((entry): entry is [string, number] => entry[1] !== undefined));
  });
}

export function compareSubjects(
  samples: readonly Sample[],
  ours: string,
  theirs: string,
): Record<string, Spread> {
  const cells = [...new Set(samples.map(({ cell }) => cell))];
  return Object.fromEntries(
    comparisons(cells).flatMap(({ name, cell, figure, compare }) => {
      const compared = compareRounds(figuresByRound(samples, cell, figure), ours, theirs, compare);
      return compared === undefined ? [] : [[name, compared]];
    }),
  );
}

const rounded = (value: number): number => Number(value.toPrecision(4));

const ROLES = ['near', 'far'] as const;
const BATCHING_TITLES: Readonly<Record<keyof Batching, string>> = {
  messagesPerSignature: 'messages / signature',
  recordsPerCommit: 'records / write',
  commitsPerExchange: 'writes / exchange',
  collectorMs: 'collector ms',
};
const BATCHING = Object.keys(BATCHING_TITLES) as (keyof Batching)[]; // the record has exactly these keys

export function medianBatching(samples: readonly Sample[]): Record<string, Sample['batching']> {
  const ours = samples.filter(({ subject }) => subject === OURS);
  const of = (cell: string, role: (typeof ROLES)[number]): Batching | undefined => {
    const taken = ours.flatMap((sample) => (sample.cell === cell ? (sample.batching[role] ?? []) : []));
    if (taken.length === 0) return undefined;
    const middle = (name: keyof Batching): number =>
      rounded(
        quantile(
          taken.map((each) => each[name]),
          0.5,
        ),
      );
    return {
      messagesPerSignature: middle('messagesPerSignature'),
      recordsPerCommit: middle('recordsPerCommit'),
      commitsPerExchange: middle('commitsPerExchange'),
      collectorMs: middle('collectorMs'),
    };
  };
  return Object.fromEntries(
    [...new Set(ours.map(({ cell }) => cell))].map((cell) => {
      const [near, far] = [of(cell, 'near'), of(cell, 'far')];
      return [cell, { ...(near && { near }), ...(far && { far }) }];
    }),
  );
}

function batchingTable(batching: Results['batching']): string {
  const head = ROLES.flatMap((role) => BATCHING.map((name) => `${role}: ${BATCHING_TITLES[name]}`));
  const rows = Object.entries(batching).map(([cell, served]) => [
    cell,
    ...ROLES.flatMap((role) => BATCHING.map((name) => cellText(served[role]?.[name]))),
  ]);
  return `**What one signature and one write to the log of ${OURS} served**\n\n${table(['load', ...head], rows)}`;
}

export function conclude(plan: Plan, run: Run, context: Context): Results {
  const spreads = compareSubjects(run.samples, OURS, YARDSTICK);
  const ratios = Object.fromEntries(
    Object.entries(spreads).map(([name, { median }]) => [name, rounded(median)]),
  );
  const batching = medianBatching(run.samples);
  return { plan, context, ratios, spreads, batching, gates: run.gates, rounds: run.samples };
}

const cellText = (value: number | undefined): string => {
  if (value === undefined) return '–';
  return Math.abs(value) >= 1000
    ? Math.round(value).toLocaleString('en')
    : String(Number(value.toPrecision(3)));
};

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [row(head), row(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(row)].join(
    '\n',
  );
}

const FIGURE_TITLES: Readonly<Record<FigureName, string>> = {
  cpuUs: 'CPU µs / request',
  cpuSecondsPerGiB: 'CPU s / GiB',
  perSecond: 'requests / s',
  mbPerSecond: 'MB / s',
  p50Ms: 'p50 ms',
  p99Ms: 'p99 ms',
  lateP99Ms: 'sent late, p99 ms',
  firstByteMs: 'first byte ms',
};
const FIGURES = Object.keys(FIGURE_TITLES) as FigureName[]; // the record has exactly these keys

/** Medians of absolute figures, then the comparison, then what they depend on. Markdown. */
export function formatResults(results: Results): string {
  const { rounds: samples, context } = results;
  const subjects = [...new Set(samples.map(({ subject }) => subject))];
  const cells = [...new Set(samples.map(({ cell }) => cell))];
  const absolute = cells.flatMap((cell) =>
    subjects.map((subject) => {
      const figures = FIGURES.map((figure) => {
        const values = figuresByRound(samples, cell, figure).flatMap((round) => round.get(subject) ?? []);
        return cellText(values.length === 0 ? undefined : spread(values).median);
      });
      return [cell, subject, ...figures];
    }),
  );
  const others = subjects.includes(YARDSTICK)
    ? subjects.filter((subject) => subject !== YARDSTICK && subject !== 'direct')
    : [];
  const compared = others.map((other) => {
    const rows = Object.entries(compareSubjects(samples, other, YARDSTICK)).map(
      ([name, { median, min, max, n }]) => [
        name,
        cellText(median),
        `${cellText(min)} – ${cellText(max)}`,
        String(n),
      ],
    );
    return `**${other} against ${YARDSTICK}**\n\n${table(['', 'median', 'min – max', 'rounds'], rows)}`;
  });
  const facts = Object.entries(context).map(
    ([name, value]) => `- ${name}: ${JSON.stringify(value).replaceAll('"', '')}`,
  );
  return [
    ...compared,
    `**Medians over ${results.plan.rounds} rounds (\`${results.plan.name}\`)**`,
    table(['load', 'subject', ...FIGURES.map((figure) => FIGURE_TITLES[figure])], absolute),
    ...(Object.keys(results.batching).length === 0 ? [] : [batchingTable(results.batching)]),
    `**Where and how**`,
    facts.join('\n'),
    `All ${results.gates.length} gates passed.`,
  ].join('\n\n');
}

const BEGIN = '<!-- results:begin, written by npm run bench -->';
const END = '<!-- results:end -->';

/** Puts the tables between the markers of the README. @throws Error when the markers are not there, once, in order */
export function insertResults(readme: string, tables: string): string {
  const [before, inside, ...more] = readme.split(BEGIN);
  const [, after, ...rest] = (inside ?? '').split(END);
  if (before === undefined || after === undefined || more.length + rest.length > 0) {
    throw new Error(`README: expected "${BEGIN}" and "${END}", once each`);
  }
  return `${before}${BEGIN}\n\n${tables}\n\n${END}${after}`;
}
