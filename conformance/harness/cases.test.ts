import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { readCases } from './cases.ts';
import { problemsOfAnswers, problemsOfTraces } from './expectations.ts';
import type { Observation } from './observation.ts';
import { play, variablesFor } from './play.ts';

const CASES = fileURLToPath(new URL('../cases', import.meta.url));

void t.test('a case file with a mistake in it is refused by name', async (t) => {
  const good = { id: 'X1', requirement: 'r', source: 's', target: 'consumer', send: ['a'] };
  const mistakes: Record<string, object> = {
    'an unknown key': { ...good, expects: {} },
    'an unknown target': { ...good, target: 'moon' },
    'no id': { ...good, id: '' },
    'an unknown refusal': { ...good, expect: { code: 'framing.nothing' } },
    'an unknown expectation': { ...good, expect: { stauts: 400 } },
    'an unknown log mark': { ...good, expect: { log: 'somewhere' } },
    'nothing to send': { ...good, send: undefined },
    'something that cannot be sent': { ...good, send: [{ bytes: 'a' }] },
    'a variant with an unknown key': { ...good, variants: { a: { send: ['a'], status: 1 } } },
  };
  for (const [what, mistake] of Object.entries(mistakes)) {
    const dir = t.testdir({});
    await mkdir(join(dir, 'area'));
    await writeFile(join(dir, 'area', 'rule.json'), JSON.stringify(mistake));
    await t.rejects(readCases(dir), { message: /^area\/rule: / }, what);
  }
});

void t.test('every case says what it is about', async (t) => {
  const cases = await readCases(CASES);
  t.ok(cases.length > 60, `${cases.length} cases`);
  for (const { file, id, requirement, source, variants } of cases) {
    t.match(id, /^[A-Z]\d\d$/, file);
    t.match(requirement, /\.\)?$/, `${file}: a sentence`);
    t.ok(source.length > 5 && variants.length > 0);
    for (const { name, expect } of variants)
      t.ok(Object.keys(expect).length > 0, `${file}: ${name} expects something`);
  }
});

void t.test('the corpus finds fault with a server that takes what Node takes', async (t) => {
  const server = createServer((_request, response) => response.end('first'));
  server.on('connect', (_request, socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo; // a TCP server's address is one
  const variables = variablesFor('localhost', 'TW/GOV/A11/welfare', 'TW/GOV/B07/housing/echo');
  const caught = new Set<string>();
  for (const { id, file, target, slow, variants } of await readCases(CASES)) {
    if (target !== 'consumer' || slow) continue;
    for (const { action, expect } of variants) {
      if (!('send' in action) || expect.status === 200 || file.startsWith('resources/')) continue;
      const outcome = await play(
        { host: '127.0.0.1', port },
        action.send,
        variables,
        { waitMs: 150, seen: () => delay(50) },
        expect.closed === true,
      ).catch(
        () => undefined, // an answer that cannot be read, or none
      );
      if (outcome !== undefined && problemsOfAnswers(expect, outcome).length > 0) caught.add(id);
    }
  }
  // What the parser of Node lets pass, and a gateway must not.
  for (const id of [
    'H04',
    'H05',
    'H06',
    'H07',
    'H08',
    'H10',
    'H13',
    'T01',
    'T02',
    'T03',
    'T04',
    'T05',
    'T07',
    'T08',
    'T09',
    'T13',
  ]) {
    t.ok(caught.has(id), id);
  }
});

void t.test('answers: each expectation can fail', async (t) => {
  const body = Buffer.from('{"code":"target.malformed"}');
  const answer = {
    status: 400,
    fields: [['content-type', 'application/problem+json']] as const,
    body,
    complete: true,
  };
  const outcome = { answers: [answer], closed: false };
  t.same(
    problemsOfAnswers(
      { status: 400, code: 'target.malformed', closed: false, answers: 1, has: ['code'], hasNot: ['x'] },
      outcome,
    ),
    [],
  );
  for (const expect of [
    { status: 403 },
    { status: 'none' },
    { code: 'header.missing' },
    { closed: true },
    { answers: 2 },
    { has: ['other'] },
    { hasNot: ['code'] },
  ] as const) {
    t.equal(problemsOfAnswers(expect, outcome).length, 1, JSON.stringify(expect));
  }
  t.equal(
    problemsOfAnswers({ status: 400 }, { ...outcome, answers: [{ ...answer, complete: false }] }).length,
    1,
    'a broken answer is none',
  );
});

void t.test('traces: each expectation can fail', async (t) => {
  const quiet = (
    seen: number,
    counts: readonly (readonly [string, number])[],
    kinds: readonly string[],
  ): Observation => {
    const records = kinds.map((k) => ({
      k,
      out: k === 'res.final' ? 'ok' : 'target.malformed',
      xid: 'attack',
    }));
    return {
      seen,
      inFlight: { consumer: 0, provider: 0 },
      refusals: { consumer: new Map(counts), provider: new Map() },
      records: { consumer: records as unknown as Observation['records']['consumer'], provider: [] }, // the parts that are read
    };
  };
  const [one] = await readCases(CASES);
  if (one === undefined) throw new Error('no cases');
  const before = quiet(0, [], []);
  const recorded = quiet(1, [['target.malformed', 1]], ['deny']);
  const problems = (expect: Parameters<typeof problemsOfTraces>[1], after: Observation): number =>
    problemsOfTraces({ ...one, target: 'consumer' }, expect, before, after, 'control').length;
  t.equal(problems({ log: 'record', code: 'target.malformed', service: 'nothing' }, recorded), 0);
  t.equal(problems({ code: 'target.malformed' }, quiet(1, [], ['deny'])), 1, 'not counted');
  t.equal(problems({ log: 'record' }, quiet(1, [], [])), 1, 'not recorded');
  t.equal(
    problems({ log: 'record', code: 'header.missing' }, recorded),
    2,
    'counted and recorded as something else',
  );
  t.equal(problems({ log: 'abort' }, recorded), 1, 'recorded as something else');
  t.equal(problems({ log: 'cut' }, recorded), 0, 'either will do');
  t.equal(problems({ log: 'cut' }, quiet(1, [], [])), 1, 'and one is needed');
  t.equal(problems({ log: 'event' }, recorded), 1, 'recorded although it must not be');
  t.equal(
    problems({ log: 'none' }, quiet(1, [['target.malformed', 1]], [])),
    1,
    'counted although it must not be',
  );
  t.equal(problems({ service: 'nothing' }, quiet(2, [], [])), 1, 'reached the service');
  t.equal(problems({ service: 'request' }, quiet(1, [], [])), 1, 'did not reach the service');
});
