import { cp, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { run, withOpa } from './command-fixture.ts';

t.setTimeout(600_000); // the compiler, two dozen times
const policies = fileURLToPath(new URL('../../../policies', import.meta.url));

/** Content by name. */
type Folder = Readonly<Record<string, string | Readonly<Record<string, string>>>>;

void t.test('test names the slips of an author, with file, line and rule', withOpa, async (t) => {
  const folder = t.testdir({});
  await cp(`${policies}/examples/weather`, folder, { recursive: true });
  const rego = `${folder}/agency/weather.rego`;
  const good = await readFile(rego, 'utf8');
  const test = async () => run('test', folder);
  t.match(await test(), { status: 0, out: /3 tests hold[^]*GOOD/ }, 'a copy anywhere is as good');

  await writeFile(rego, good.replace('"weather.product_unknown"', '"weather.product_unknwon"'));
  t.match(await test(), {
    status: 1,
    out: /agency\/weather\.rego:\d+ refusals: reason weather\.product_unknwon has no texts in data\/reasons\.json/,
  });
  await writeFile(rego, good.replace('refusals contains "weather.rate', 'refusal contains "weather.rate'));
  t.match(await test(), {
    status: 1,
    out: /agency\/weather_test\.rego:\d+ test_refuses: the test does not hold/,
  });
  await writeFile(rego, good.replace('input.request.method in', 'input.request.methd in'));
  await t.rejects(test(), {
    message: /agency\/weather\.rego:\d+ rule reads: [^]*undefined ref: input\.request\.methd/,
  });
  await writeFile(rego, good.replace('"weather" {', '{').replace('not reads', 'not reads )'));
  await t.rejects(test(), { message: /agency\/weather\.rego:\d+ rule refusals: rego_parse_error/ });
  await writeFile(rego, good);

  const vectors = `${folder}/vectors/weather.json`;
  const golden = await readFile(vectors, 'utf8');
  const read = JSON.parse(golden) as { vectors: { name: string }[] };
  const fewer = read.vectors.filter(({ name }) => !/burst|everything/.test(name));
  await writeFile(vectors, JSON.stringify({ ...read, vectors: fewer }));
  t.match(await test(), {
    status: 1,
    out: /agency\/weather\.rego:\d+ refusals: no golden vector \(vectors\/\*\.json\) expects reason weather\.rate_exceeded/,
  });
  await writeFile(vectors, golden);

  const reasons = `${folder}/data/reasons.json`;
  const texts = await readFile(reasons, 'utf8');
  await writeFile(reasons, texts.replace('"zh-TW"', '"zh"'));
  t.match(await test(), { status: 1, out: /reason weather\.\w+ lacks "en" or "zh-TW"/ });
  await writeFile(reasons, texts);

  await writeFile(
    `${folder}/agency/b.rego`,
    'package agency.b\n\nrefusal contains "weather.rate_exceeded" if input.x\n',
  );
  await writeFile(`${folder}/agency/c.rego`, 'package weather.c\n\nx := 1\n');
  t.match(JSON.parse((await run('test', folder, '--json')).out), {
    slips: [
      { file: 'agency/b.rego', line: 1 },
      { file: 'agency/c.rego', why: /name it agency\.NAME/ },
    ],
  });
});

void t.test('sources that include others', withOpa, async (t) => {
  const { out, status } = await run('test', `${policies}/examples`);
  t.match({ out, status }, { status: 0, out: /2\d tests hold[^]*GOOD/ }, 'all examples together');
  const problems: readonly (readonly [files: Folder, message: RegExp])[] = [
    [{ 'policy.json': '{' }, /policy\.json: /],
    [{ 'policy.json': '{"includes":[]}' }, /policy\.json: expected \{"include"/],
    [{ 'policy.json': '{"include":["../nowhere"]}' }, /policy\.json: there is no .*nowhere/],
    [{ 'policy.json': '{"include":["."]}' }, /includes itself/],
    [
      { 'policy.json': '{"include":["default"]}', troad: { 'path.rego': '' } },
      /path\.rego: an included folder has troad\/path\.rego too/,
    ],
    [
      { 'policy.json': '{"include":["default"]}', data: { 'classes.json': '{"general":{"threshold":0}}' } },
      /classes\.json and .*: both have .*\/general\/threshold/,
    ],
    [{ 'policy.json': '{"include":["default"]}', data: { 'classes.json': '{' } }, /classes\.json: /],
  ];
  const folder = t.testdir(Object.fromEntries(problems.map(([files], i) => [`p${i}`, files])));
  for (const [i, [, message]] of problems.entries())
    await t.rejects(run('test', `${folder}/p${i}`), { name: 'ConfigError', message });
});
