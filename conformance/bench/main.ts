/**
 * `npm run bench`: measures the gateway pair against an nginx pair, side by side. See README.md for how to read it.
 *
 *     npm run bench                      five rounds, a quarter of an hour
 *     npm run bench -- --quick           three short rounds, less than two minutes
 *     npm run bench -- --subjects direct,nginx     only these; writes nothing into the tree
 *     npm run bench -- --out FILE        results as JSON there, README untouched
 *     npm run bench -- --flame DIR       no measurement: profiles and flame graphs of our pair under load
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describe } from './context.ts';
import { drawFlames } from './flame-run.ts';
import { interruption } from './leftovers.ts';
import { FULL, QUICK } from './plan.ts';
import { conclude, formatResults, insertResults, OURS, YARDSTICK } from './report.ts';
import { runPlan, Void } from './rounds.ts';
import { missing } from './spawn.ts';
import { caddyPair } from './subjects/caddy-pair.ts';
import { direct } from './subjects/direct.ts';
import { haproxyPair } from './subjects/haproxy-pair.ts';
import { nodePair } from './subjects/node-pair.ts';
import { nginxPair } from './subjects/nginx-pair.ts';
import type { SubjectKind } from './subjects/subject.ts';
import { troadPair } from './subjects/troad-pair.ts';

const KINDS: readonly SubjectKind[] = [direct, nginxPair, troadPair, haproxyPair, caddyPair, nodePair];
const RESULTS = new URL('results.json', import.meta.url);
const README = new URL('README.md', import.meta.url);

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** The subjects to run. Those asked for by name must be there. @throws Error with every reason why not */
function chosen(names: readonly string[] | undefined): readonly SubjectKind[] {
  const wanted = names ?? [direct.name, nginxPair.name, troadPair.name];
  const unknown = wanted.filter((name) => !KINDS.some((kind) => kind.name === name));
  const kinds = KINDS.filter(({ name }) => wanted.includes(name));
  const problems = [
    ...unknown.map(
      (name) => `${name}: no such subject; there are ${KINDS.map((kind) => kind.name).join(', ')}`,
    ),
    // nginx also is the service behind all subjects.
    ...[...kinds.map((kind) => kind.missing()), ...['nginx', 'wrk', 'openssl'].map(missing)].filter(
      (problem) => problem !== undefined,
    ),
  ];
  if (problems.length > 0) throw new Error(`cannot run:\n  ${[...new Set(problems)].join('\n  ')}`);
  return kinds;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      subjects: { type: 'string' },
      out: { type: 'string' },
      flame: { type: 'string' },
    },
  });
  if (values.flame !== undefined) {
    for (const file of await drawFlames(values.flame, values.quick ? 5 : 30)) say(file);
    return;
  }
  const base = values.quick ? QUICK : FULL;
  const rounds = values.rounds === undefined ? base.rounds : Number(values.rounds);
  if (!Number.isSafeInteger(rounds) || rounds < 1)
    throw new Error(`--rounds ${values.rounds}: not a number above 0`);
  const plan = { ...base, rounds };
  const kinds = chosen(values.subjects?.split(','));

  const run = await runPlan(plan, kinds, say, interruption());
  const results = conclude(plan, run, await describe(run));
  const tables = formatResults(results);
  process.stdout.write(`${tables}\n`);
  const json = `${JSON.stringify(results, null, 1)}\n`;
  if (values.out !== undefined) writeFileSync(values.out, json);
  else if ([OURS, YARDSTICK].every((name) => kinds.some((kind) => kind.name === name))) {
    writeFileSync(RESULTS, json);
    writeFileSync(README, insertResults(readFileSync(README, 'utf8'), tables));
  } else say(`nothing written: that needs both ${OURS} and ${YARDSTICK}`);
}

try {
  await main();
} catch (cause) {
  say(cause instanceof Void || cause instanceof Error ? cause.message : String(cause));
  process.exitCode = 1;
}
