import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { generateKeyPair, writePrivateKey } from '../pki/keys.ts';
import { readCases, type ConformanceCase, type Expectation, type Variant } from './harness/cases.ts';
import { problemsOfAnswers, problemsOfTraces, type Outcome } from './harness/expectations.ts';
import { GENERATORS } from './harness/generators.ts';
import type { Patience } from './harness/link-client.ts';
import { Observer, type Observation } from './harness/observation.ts';
import { play, variablesFor } from './harness/play.ts';
import { PATIENCE_MS } from './harness/raw-socket.ts';
import { startSandbox, type Subject } from './harness/sandbox.ts';

// Every case below cases/ against a running T-Road. `CASES=T05 node conformance/corpus.test.ts` runs those whose id or
// file name contains the text.

/** How long an attacked connection is watched for what should not happen. */
const WAIT_MS = 400;

const CLIENT = 'TW/GOV/A11/welfare';
const SERVICE = 'TW/GOV/B07/housing/echo';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const wanted = process.env['CASES'] ?? '';
const skipped = JSON.parse(await readFile(here('skipped.json'), 'utf8')) as Record<string, string>; // file → reason
const cases = (await readCases(here('cases'))).filter(({ id, file }) => `${id} ${file}`.includes(wanted));

t.setTimeout(600_000);
const dir = await mkdtemp(join(tmpdir(), 'troad-corpus-'));
// A sandbox makes Ed25519 message keys. Here agency A, in whose name the link is attacked, has one on P-256: so messages and
// batches of both kinds go over the link, and of the two signatures that plain ECDSA takes one has to be refused.
await mkdir(join(dir, 'agencies/a11'), { recursive: true });
await writePrivateKey(join(dir, 'agencies/a11/message.key'), generateKeyPair('p256').privateKey);
const subject = await startSandbox(dir);
// Another for cases that wait: what its short patience ends must not show up among the traces of the others.
const impatient = await startSandbox(join(dir, 'impatient'), '--body-idle', '3');
t.teardown(async () => {
  await Promise.all([subject.stop(), impatient.stop()]);
  await rm(dir, { recursive: true, force: true });
});
const observer = new Observer(subject);
const { url } = subject.ready.consumer;

await goodRequest();

// They sleep most of the time, so they run beside the others.
const sleepers = cases
  .filter((one) => one.slow && skipped[one.file] === undefined)
  .flatMap((one) =>
    one.variants.flatMap((variant) =>
      waysOf(one, variant, impatient).map(([via, act]) => ({
        name: `${one.id} ${one.file} ${variant.name}${via}`,
        expect: variant.expect,
        outcome: act({ waitMs: 30_000, seen: () => delay(100) }),
      })),
    ),
  );

for (const one of cases.filter(({ slow, file }) => !slow || skipped[file] !== undefined)) {
  const reason = skipped[one.file];
  await t.test(`${one.id} ${one.file}: ${one.requirement}`, { skip: reason ?? false }, async (t) => {
    for (const variant of one.variants) {
      for (const [via, act] of waysOf(one, variant, subject)) {
        t.same(await run(one, variant, act), [], `${variant.name}${via}`);
      }
    }
  });
}

await t.test('slow by nature', async (t) => {
  for (const { name, expect, outcome } of sleepers)
    t.same(problemsOfAnswers(expect, await outcome), [], name);
  await goodRequest();
});

void t.test('skipped.json names cases that exist', async (t) => {
  const files = new Set((await readCases(here('cases'))).map(({ file }) => file));
  for (const [file, reason] of Object.entries(skipped)) {
    t.ok(files.has(file), file);
    t.ok(reason.length > 10, `${file} has a reason`);
  }
});

type Act = (patience: Patience) => Promise<Outcome>;

/** A case for client systems runs over plain HTTP and over HTTPS with a client certificate. */
function waysOf(
  { target }: ConformanceCase,
  { action, expect }: Variant,
  victim: Subject,
): readonly (readonly [via: string, act: Act])[] {
  if ('generator' in action) {
    const { name, args } = action.generator;
    const generate = GENERATORS[name];
    if (generate === undefined) throw new Error(`no generator ${name}`);
    // What is true of a request between gateways is true on every link.
    const framed = GENERATORS[`${name} over troad/1`];
    return [
      ['', (patience) => generate(victim, args, patience)],
      ...(framed === undefined
        ? []
        : [[' (troad/1)', (patience: Patience) => framed(victim, args, patience)] as const]),
    ];
  }
  if (target === 'link') throw new Error('a case for the link needs a generator');
  const { http, https } = victim.consumer;
  const variables = variablesFor('localhost', CLIENT, SERVICE);
  return [
    ['', (patience) => play(http, action.send, variables, patience, expect.closed === true)],
    [' (HTTPS)', (patience) => play(https, action.send, variables, patience, expect.closed === true)],
  ];
}

/** One attack, then a good request, then the traces of both. @returns what was wrong */
async function run(one: ConformanceCase, { expect }: Variant, act: Act): Promise<readonly string[]> {
  const before = await quiet();
  const answered = [expect.status ?? 'none'].flat().every((status) => status !== 'none');
  const outcome = await act({
    waitMs: answered || expect.closed === true ? PATIENCE_MS : WAIT_MS,
    seen: () => seen(one, expect, before),
  });
  const problems = problemsOfAnswers(expect, outcome);
  const control = await goodRequest();
  // Counters and records may lag behind the answer, never the other way round: ask until they agree or time is up.
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    const traces = problemsOfTraces(one, expect, before, await observer.look(), control);
    if (traces.length === 0 || performance.now() > until) return [...problems, ...traces];
    await delay(20);
  }
}

/** Nothing of what was before is under way any more, so that its traces are not taken for those of what follows. */
function quiet(): Promise<Observation> {
  return observed('it is quiet', ({ inFlight }) => inFlight.consumer + inFlight.provider === 0);
}

/** The attacked gateway has the request: it carries it, or has refused it. What is to be cut has its first record. */
async function seen({ target }: ConformanceCase, expect: Expectation, before: Observation): Promise<void> {
  const side = target === 'consumer' ? 'consumer' : 'provider';
  const opened = ({ records }: Observation): number => records[side].filter(({ k }) => k === 'open').length;
  const refused = ({ refusals }: Observation): number =>
    [...refusals[side].values()].reduce((sum, count) => sum + count, 0);
  await observed('it has seen what was sent', (now) => {
    if (opened(now) > opened(before) || refused(now) > refused(before)) return true;
    return expect.log !== 'abort' && now.inFlight[side] > 0;
  });
}

async function observed(what: string, holds: (now: Observation) => boolean): Promise<Observation> {
  for (const until = performance.now() + PATIENCE_MS; performance.now() < until; await delay(5)) {
    const now = await observer.look();
    if (holds(now)) return now;
  }
  throw new Error(`the gateway did not show that ${what}`);
}

/** What has to work after every attack, on a fresh connection. @returns its X-Road-Id */
async function goodRequest(): Promise<string> {
  const id = `control-${randomUUID()}`;
  const response = await fetch(`${url}/r1/${SERVICE}/control`, {
    headers: { 'X-Road-Client': CLIENT, 'X-Road-Id': id, Connection: 'close' },
  });
  const text = await response.text();
  if (response.status !== 200)
    throw new Error(`a good request got ${response.status}: ${text}\n${subject.output.slice(-5).join('\n')}`);
  return id;
}
