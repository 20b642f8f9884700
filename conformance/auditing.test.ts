// The commands of the auditors' documents, as they stand there, against logs with keys of both usual kinds.
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { exportSignature, signBase } from '../gateway/httpsig/algorithm.ts';
import { openLog } from '../gateway/evidence/log.ts';
import { ExchangePair, messageKey, trustDocument } from './builders/exchanges.ts';
import { CONSUMER, HandClock, logOptions, originOf, PROVIDER } from './builders/log.ts';
import { openssl } from './builders/openssl.ts';
import { PLAIN_NODE } from './harness/plain-node.ts';

const cli = fileURLToPath(new URL('../gateway/cli.ts', import.meta.url));
const missing = ['openssl', 'jq', 'base64', 'python3'].filter(
  (program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0,
);
const skip = missing.length > 0 ? `the documents' commands need ${missing.join(', ')}` : false;

const read = (path: string): string => readFileSync(new URL(`../docs/${path}`, import.meta.url), 'utf8');
const [english, chinese] = [read('auditing.md'), read('auditing.zh-TW.md')];

/** Indented lines from the first one that begins like this to the last one before an empty line. */
function commandsIn(text: string, begin: string): string {
  const from = text.indexOf(`\n    ${begin}`);
  if (from < 0) throw new Error(`no ${begin} in the document`);
  return text.slice(from, text.indexOf('\n\n', from)).replaceAll(/^ {4}/gm, '');
}

t.setTimeout(120_000); // forty shells, on a machine that may be busy
const dir = t.testdir({ 'trust.json': JSON.stringify(trustDocument()) });

/** Runs commands in the folder as a person at a shell would. */
function run(script: string, id: string): { readonly ok: boolean; readonly text: string } {
  const troad = `troad() { ${[...PLAIN_NODE, cli].map((word) => `'${word}'`).join(' ')} "$@"; }`;
  const { status, stdout, stderr } = spawnSync('sh', ['-ec', `${troad}\n${script}`], {
    cwd: dir,
    env: { ...process.env, ID: id },
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { ok: status === 0, text: stdout + stderr };
}

const clock = new HandClock();
const log = await openLog(logOptions(join(dir, 'provider-log'), { clock, origin: originOf(PROVIDER) }));
await (await ExchangePair.sign(1, clock)).write(log, 'p');
const together = [2, 3, 4, 5, 6].map((n) => ExchangePair.sign(n, clock));
for (const pair of await Promise.all(together)) await pair.write(log, 'p');
await log.close();

/** The same commands for the answer, which the other gateway signed; the story is there already. */
const forAnswer = (commands: string): string =>
  commands
    .replace(/^.*> story\.json$/m, '')
    .replaceAll('records[0]', 'records[1]')
    .replaceAll('["records"][0]', '["records"][1]');

const keyOf = commandsIn(english, 'openssl dgst -sha256 -binary key.der');
const pathOf = commandsIn(english, "python3 - <<'EOF'");

/** Alone, in the middle of a batch of five, and at its end, where a node has no sibling. */
const IDS = ['client-1', 'client-4', 'client-6'];

const check = commandsIn(english, 'troad audit show "$ID"');
const last = check.split('\n').findLast((line) => line.startsWith('openssl')) ?? '';

void t.test('the commands of the documents, which are the same', { skip }, async (t) => {
  t.equal(commandsIn(chinese, 'troad audit show "$ID"'), check);
  for (const id of IDS) {
    for (const [gateway, algorithm, script] of [
      [CONSUMER, 'ecdsa-p256-sha256', (commands: string) => commands],
      [PROVIDER, 'ed25519', forAnswer],
    ] as const) {
      t.match(
        run(script(check), id),
        { ok: true, text: /Signature Verified Successfully/ },
        `${id}, ${algorithm}`,
      );
      const key = messageKey(gateway);
      t.equal(key.algorithm, algorithm);
      t.equal(`${gateway}#${run(keyOf, id).text.trim()}`, key.kid, 'with the key that its id names');
      const alone = run(script(`jq -j '.exchanges[0].records[0].base' story.json | cmp - signed.bin`), id);
      t.equal(alone.ok, id === 'client-1', 'signed is the text itself where it was signed alone');
      if (id !== 'client-1') {
        t.match(run(script(pathOf), id), { ok: true, text: /in the batch with root/ });
        const forged = `sed 's/"@method\\\\"\\(;req\\)*: POST/"@method\\\\"\\1: PUT/' story.json > forged.json`;
        const other = script(pathOf).replace('story.json', 'forged.json');
        t.match(
          run(`${forged}\n${other}`, id),
          { ok: false, text: /another root/ },
          'another text leads elsewhere',
        );
      }
      const changed = run(`printf x >> signed.bin\n${last}`, id);
      t.match(changed, { ok: false, text: /Verification Failure/ }, 'another text has no signature');
    }
  }
});

void t.test('an RSA signature, with the options that the documents name', { skip }, async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const base = '"@method": GET\n"@path": /';
  const at = (file: string): string => join(dir, file);
  writeFileSync(at('rsa.der'), publicKey.export({ format: 'der', type: 'spki' }));
  writeFileSync(at('rsa.txt'), base);
  const signature = signBase('rsa-pss-sha512', privateKey, base);
  writeFileSync(at('rsa.sig'), exportSignature('rsa-pss-sha512', signature));
  for (const text of [english, chinese]) {
    const [, options = ''] = /`(-digest sha512 [^`]+)`/.exec(text) ?? [];
    const command = ['pkeyutl', '-verify', '-pubin', '-inkey', at('rsa.der'), '-keyform', 'DER', '-rawin'];
    const files = ['-in', at('rsa.txt'), '-sigfile', at('rsa.sig')];
    t.match(
      openssl([...command, ...files, ...options.split(' ')]).toString(),
      /Signature Verified Successfully/,
    );
    t.throws(
      () => openssl([...command, ...files]),
      /Verification Failure|error/i,
      'and without them it fails',
    );
  }
});
