import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { EVENT_LEVELS } from '../gateway/telemetry/events.ts';
import { REFUSALS } from '../gateway/core/refusals.ts';
import { inputSentences, settings, staleDocuments } from './documents.ts';
import { treeFiles } from './layers.ts';
import { POLICY_INPUT_ZH } from './policy-input-zh.ts';
import { SETTINGS_ZH } from './settings-zh.ts';

const root = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

void t.test('generated tables say what the code says', async (t) => {
  t.strictSame(staleDocuments(), [], 'run node .ci/documents.ts');
});

void t.test('every setting is explained in both languages', async (t) => {
  t.strictSame(
    Object.keys(SETTINGS_ZH).toSorted(),
    settings()
      .map(({ path }) => path)
      .toSorted(),
  );
});

void t.test('both operating guides name every event and every metric', async (t) => {
  const english = read('docs/operating.md');
  const metrics = [...english.matchAll(/^\| `((?:troad|process|nodejs)_\w+)` \|/gm)].map(
    ([, name = '']) => name,
  );
  t.ok(metrics.length > 20);
  const chinese = read('docs/operating.zh-TW.md');
  for (const name of [...Object.keys(EVENT_LEVELS), ...metrics]) {
    t.ok(english.includes(`\`${name}\``), `English: ${name}`);
    t.ok(chinese.includes(`\`${name}\``), `中文: ${name}`);
  }
});

void t.test('refusals have texts of both languages', async (t) => {
  for (const [code, { en, zh }] of Object.entries(REFUSALS)) {
    t.match(en, /^[^\u4e00-\u9fff]+\.$/, `${code}: English, a sentence`);
    t.match(zh, /[\u4e00-\u9fff].*。$/, `${code}: Chinese, a sentence`);
  }
});

void t.test('every member of the policy’s input is explained in both languages', async (t) => {
  const rows = (file: string): string[] =>
    read(file)
      .split('\n')
      .filter((line) => line.startsWith('| `'));
  const [english, chinese] = [rows('docs/policy-input.md'), rows('docs/policy-input.zh-TW.md')];
  t.ok(english.length > 60);
  for (const row of [...english, ...chinese]) t.notMatch(row, /\| {2}\|$/, row.slice(0, 60));
  t.strictSame(Object.keys(POLICY_INPUT_ZH).toSorted(), inputSentences().toSorted());
});

/** A document without the table that is told in English alone: it names tests. */
const inBoth = (file: string): string => read(file).replace(/^## Requirements and tests$[^]*?(?=^## )/m, '');
/** What stands as code in running text: codes, settings, commands, files. Blocks of code are left out. */
const codeIn = (file: string): string[] => {
  const running = inBoth(file)
    .replaceAll(/^```[^]*?^```/gm, '')
    .replaceAll(/^ {4}.*$/gm, '')
    .replaceAll('.zh-TW.md', '.md');
  return [...new Set(Array.from(running.matchAll(/`([^`]+)`/g), ([, text = '']) => text))].toSorted();
};
const headingsIn = (file: string): string[] =>
  Array.from(inBoth(file).matchAll(/^(#+) /gm), ([, marks = '']) => marks);

void t.test('both languages speak of the same things', async (t) => {
  for (const name of ['identity', 'policies', 'policy-input', 'policy-tools', 'policy-tutorial']) {
    const [english, chinese] = [`docs/${name}.md`, `docs/${name}.zh-TW.md`];
    t.strictSame(headingsIn(chinese), headingsIn(english), `${name}: headings`);
    t.strictSame(codeIn(chinese), codeIn(english), `${name}: codes, settings, commands`);
  }
});

/** Words that were once used for the same things, and the ones that are. */
const ONE_WORD: Readonly<Record<string, string>> = {
  政策套件: '政策包',
  簽署人: '簽署者',
  決策: '決定',
  判定: '決定',
  消費方: '介接方',
  登錄檔: '名冊',
  裝置: '設備',
  註銷: '撤銷',
  工作執行緒: 'worker',
  工作程序: 'worker',
  維運: '營運',
  弱點情資: '威脅情資',
  提升驗證: '加強驗證',
  鑑別證明: '證明結果',
  鑑別結果: '證明結果',
  對方主機: '對方閘道主機',
};

void t.test('one thing has one name in Chinese', async (t) => {
  const documents = treeFiles(root, '.').filter((file) => file.endsWith('.zh-TW.md'));
  t.ok(documents.length > 10);
  for (const file of [...documents, 'docs/refusals.md', 'policies/data/reasons.json']) {
    const text = read(file);
    for (const [other, word] of Object.entries(ONE_WORD))
      t.notOk(text.includes(other), `${file}: ${word}, not ${other}`);
  }
});

/** Links of the documents lead to files and headings that are there. */
void t.test('links lead somewhere', async (t) => {
  const documents = [
    'README.md',
    'README.zh-TW.md',
    'ARCHITECTURE.md',
    'SECURITY.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    'docs/operating.md',
    'docs/operating.zh-TW.md',
    'docs/auditing.md',
    'docs/auditing.zh-TW.md',
    'docs/devices.md',
    'docs/devices.zh-TW.md',
    'docs/identity.md',
    'docs/identity.zh-TW.md',
    'docs/protocol.md',
    'docs/policies.md',
    'docs/policies.zh-TW.md',
    'docs/policy-input.md',
    'docs/policy-input.zh-TW.md',
    'docs/policy-tools.md',
    'docs/policy-tools.zh-TW.md',
    'docs/policy-tutorial.md',
    'docs/policy-tutorial.zh-TW.md',
    'docs/refusals.md',
    'docs/dependencies.md',
  ];
  for (const document of documents) {
    const folder = join(document, '..');
    for (const [, target = ''] of read(document).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [file = '', heading] = target.split('#');
      const path = file === '' ? document : join(folder, file);
      t.ok(existsSync(join(root, path)), `${document}: ${target}`);
      if (heading === undefined) continue;
      const headings = [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => anchorOf(title));
      t.ok(headings.includes(heading), `${document}: ${target}`);
    }
    // Files named in running text, as `gateway/…/x.ts`.
    for (const [, path = ''] of read(document).matchAll(
      /`((?:gateway|policies|pki|conformance|deploy|docs|\.ci)\/[\w./-]+\.\w+)`/g,
    )) {
      t.ok(existsSync(join(root, path)), `${document}: ${path}`);
    }
  }
});

/** As hosts of git repositories make anchors of headings. */
const anchorOf = (title: string): string =>
  title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');
