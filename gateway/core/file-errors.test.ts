import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { ConfigError, MalformedBytes } from './errors.ts';
import { inWords, inWordsWithPlace, naming } from './file-errors.ts';

const thrown = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('did not throw');
};

void t.test('errors of the operating system, in words, in both languages', async (t) => {
  const dir = t.testdir();
  const gone = join(dir, 'gone');
  const missing = thrown(() => readFileSync(gone));
  t.match(inWords(missing), /^there is no such file: check the path {2}沒有這個檔案/);
  t.match(inWordsWithPlace(missing), `${gone}: there is no such file`);
  t.match(inWords(thrown(() => readFileSync(dir))), /^is a folder: name a file in it {2}/);
  t.match(
    inWordsWithPlace(thrown(() => readFileSync(dir))),
    /EISDIR/,
    'the place is not known: nothing is lost',
  );
  writeFileSync(gone, '');
  t.match(inWords(thrown(() => readFileSync(join(gone, 'x')))), /a part of the path is a file/);
  t.match(inWords(thrown(() => mkdirSync(join(dir, 'no', 'x')))), /^no folder can be made there/);
  t.equal(inWords(new Error('other')), 'other');
  t.equal(inWordsWithPlace('text'), 'text');
});

void t.test('a port in use', async (t) => {
  const first = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => first.once('listening', resolve));
  t.teardown(() => first.close());
  const address = first.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const second = createServer().listen(address.port, '127.0.0.1');
  const error = await new Promise((resolve) => second.once('error', resolve));
  t.match(inWordsWithPlace(error), `127.0.0.1:${address.port}: another program listens there already`);
});

void t.test('what reads a file names it', async (t) => {
  t.equal(
    naming('a', () => 1),
    1,
  );
  const problems = (run: () => unknown): unknown => {
    const error = thrown(run);
    return error instanceof ConfigError ? error.problems : error;
  };
  t.strictSame(
    problems(() =>
      naming('--trust a', () => {
        throw new ConfigError(['x', 'y']);
      }),
    ),
    ['--trust a: x', '--trust a: y'],
  );
  t.strictSame(
    problems(() =>
      naming('a', () => {
        throw new MalformedBytes('short');
      }),
    ),
    ['a: short'],
  );
  t.match(
    problems(() => naming('a', () => readFileSync('/nowhere/a'))),
    [/^a: there is no such file/],
  );
  const bug = new TypeError('ours');
  t.equal(
    problems(() =>
      naming('a', () => {
        throw bug;
      }),
    ),
    bug,
    'a bug stays one',
  );
});
