import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { checkLayers, treeFiles } from './layers.ts';

/** A small tree that keeps every rule; each row below breaks one. */
const good: Readonly<Record<string, string>> = {
  'gateway/core/ids.ts': `import { randomBytes } from 'node:crypto';\nexport const id = randomBytes;`,
  'gateway/httpsig/base.ts': `import { parseList } from 'structured-headers';\nimport { id } from '../core/ids.ts';\nexport { parseList, id };`,
  'gateway/tlog/hash.ts': 'export const hash = 1;',
  'gateway/x509/certificate.ts': `import 'reflect-metadata';\nexport * from '@peculiar/x509';`,
  'gateway/evidence/log.ts': `import { open } from 'node:fs/promises';\nexport { open };`,
  'gateway/link/client.ts': `import { connect } from 'node:http2';\nexport { connect };`,
  'gateway/service/hop.ts': `export { connect } from 'node:tls';`,
  'gateway/registry/registry.ts': `export type { JWK } from 'jose';`,
  'gateway/exchange/consume.ts': `import '../link/client.ts';\nimport '../evidence/log.ts';`,
  'gateway/audit/verify.ts': `import '../evidence/log.ts';\nimport '../registry/registry.ts';`,
  'gateway/config/parse.ts': `import { parseDocument } from 'yaml';\nexport { parseDocument };`,
  'gateway/node.ts': `import './exchange/consume.ts';\nimport './config/parse.ts';`,
  'gateway/commands/run.ts': `import { Command } from 'commander';\nexport const run = async () => [Command, await import('../node.ts'), await import('../../pki/authority.ts')];`,
  'gateway/commands/audit.ts': `import '../audit/verify.ts';`,
  'gateway/cli.ts': `import './commands/run.ts';`,
  'pki/authority.ts': `import '../gateway/x509/certificate.ts';`,
  'conformance/builders/mitm.ts': `import 'node:http2';\nimport '../../gateway/exchange/consume.ts';`,
  'gateway/link/client.test.ts': `import t from 'tap';\nimport '../../conformance/builders/mitm.ts';\nimport '../audit/verify.ts';\nt.pass('x');`,
};

const violations: readonly (readonly [what: string, file: string, text: string, message: RegExp])[] = [
  [
    'up',
    'gateway/core/bad.ts',
    `import '../tlog/hash.ts';`,
    /^gateway\/core \(level 0\) may not import up, gateway\/tlog is level 1/,
  ],
  [
    'up, a type',
    'gateway/evidence/bad.ts',
    `import type { A } from '../exchange/consume.ts';`,
    /may not import up/,
  ],
  [
    'up, inside a type',
    'gateway/evidence/bad.ts',
    `export type A = import('../exchange/consume.ts').A;`,
    /may not import up/,
  ],
  ['up, by export', 'gateway/tlog/bad.ts', `export * as log from '../evidence/log.ts';`, /may not import up/],
  ['sideways', 'gateway/tlog/bad.ts', `import '../httpsig/base.ts';`, /are of one level, 1/],
  [
    'sideways, late',
    'gateway/link/bad.ts',
    `export const a = () => import('../evidence/log.ts');`,
    /are of one level, 4/,
  ],
  [
    'a folder nobody placed',
    'gateway/utils/bad.ts',
    `import '../core/ids.ts';`,
    /gateway\/utils is not in the table/,
  ],
  [
    'the message path from the auditor',
    'gateway/audit/bad.ts',
    `import '../exchange/consume.ts';`,
    /gateway\/audit may not import gateway\/exchange/,
  ],
  [
    'the link from the auditor',
    'gateway/audit/bad.ts',
    `import '../link/client.ts';`,
    /gateway\/audit may not import gateway\/link/,
  ],
  [
    'the service hop from the auditor',
    'gateway/audit/bad.ts',
    `import '../service/hop.ts';`,
    /gateway\/audit may not import gateway\/service/,
  ],
  [
    'the auditor from the message path',
    'gateway/exchange/bad.ts',
    `import '../audit/verify.ts';`,
    /only commands do/,
  ],
  [
    'the message path from pki',
    'pki/bad.ts',
    `import '../gateway/registry/registry.ts';`,
    /pki may not import gateway\/registry/,
  ],
  ['pki from the gateway', 'gateway/registry/bad.ts', `import '../../pki/authority.ts';`, /only commands do/],
  [
    'a test tool in shipped code',
    'gateway/core/bad.ts',
    `import fc from 'fast-check';`,
    /fast-check is for tests/,
  ],
  [
    'what is not shipped',
    'gateway/link/bad.ts',
    `import '../../conformance/builders/mitm.ts';`,
    /not shipped/,
  ],
  ['a test', 'gateway/link/bad.ts', `import './client.test.ts';`, /imports a test/],
  [
    'a package past its door',
    'gateway/evidence/bad.ts',
    `import { parse } from 'yaml';`,
    /yaml is imported in gateway\/config\/ only/,
  ],
  [
    'a part of a package past its door',
    'gateway/server/bad.ts',
    `import 'zod/v4/core';`,
    /zod is imported in gateway\/config\/ only/,
  ],
  [
    'a scoped package past its door',
    'pki/bad.ts',
    `import '@peculiar/x509/a';`,
    /@peculiar\/x509 is imported in gateway\/x509\/ only/,
  ],
  ['a package without a door', 'gateway/server/bad.ts', `import 'left-pad';`, /left-pad has no door/],
  [
    'a file that only begins like a door',
    'gateway/cli.ts.bad.ts',
    `import 'commander';`,
    /commander is imported in/,
  ],
  ['HTTP/2 outside the link', 'gateway/exchange/bad.ts', `import 'node:http2';`, /node:http2 is imported in/],
  ['TLS outside the listeners', 'gateway/evidence/bad.ts', `import 'node:tls';`, /node:tls is imported in/],
  ['the disk in a check', 'gateway/trust/bad.ts', `import 'node:fs';`, /pure .* may not import node:fs/],
  [
    'the disk in a format, late',
    'gateway/tlog/bad.ts',
    `await import('node:fs/promises');`,
    /pure .* may not import node:fs\/promises/,
  ],
  [
    'something computed',
    'gateway/server/bad.ts',
    'export const a = (b: string) => import(`./${b}.ts`);',
    /computed/,
  ],
  ['what is not there', 'gateway/server/bad.ts', `import './gone.ts';`, /\.\/gone\.ts does not exist/],
  [
    'itself',
    'gateway/server/bad.ts',
    `import './bad.ts';`,
    /cycle: gateway\/server\/bad.ts → gateway\/server\/bad.ts/,
  ],
];

function plant(t: Test, files: Readonly<Record<string, string>>): string {
  const root = t.testdir();
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  return root;
}

void t.test('a tree that keeps the rules', async (t) => {
  t.strictSame(checkLayers(plant(t, good), Object.keys(good)), []);
});

for (const [what, file, text, message] of violations) {
  void t.test(`finds an import of ${what}`, async (t) => {
    const files = { ...good, [file]: `// first line\n${text}\n` };
    const found = checkLayers(plant(t, files), Object.keys(files));
    t.equal(found.length, 1, JSON.stringify(found));
    t.match(found[0], { file, what: message });
    if (!message.source.startsWith('cycle')) t.equal(found[0]?.line, 2);
  });
}

void t.test('finds a cycle between files of one folder', async (t) => {
  const files = {
    ...good,
    'gateway/tlog/a.ts': `import type { B } from './b.ts'; export type A = B;`,
    'gateway/tlog/b.ts': `import './c.ts'; export type B = 1;`,
    'gateway/tlog/c.ts': `export type { A } from './a.ts';`,
  };
  t.match(checkLayers(plant(t, files), Object.keys(files)), [
    { what: 'cycle: gateway/tlog/a.ts → gateway/tlog/b.ts → gateway/tlog/c.ts → gateway/tlog/a.ts' },
  ]);
});

void t.test('this repository keeps the rules', async (t) => {
  const root = join(import.meta.dirname, '..');
  const files = treeFiles(root, '*.ts');
  t.ok(files.includes('gateway/core/ids.ts'), 'the files were found');
  t.strictSame(checkLayers(root, files), []);
});
