import { request, type IncomingMessage } from 'node:http';
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { Denied } from '../core/errors.ts';
import { answerDialect, type AnswerHead, type AnswerLines } from './answer-head.ts';
import { MessageReader } from './message-reader.ts';

// What a service may answer, and what nobody may take for an answer (attack catalogue C10 U01–U03).

interface Answer {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  readonly body: string;
}
interface Reading {
  /** Interim ones included. */
  readonly answers: readonly Answer[];
  readonly ending: 'refused' | 'more' | 'idle';
  /** Where each answer ended. */
  readonly ends: readonly number[];
}

function read(
  chunks: readonly Buffer[],
  method = 'GET',
): Reading & { readonly heads: readonly AnswerHead[] } {
  const reader = new MessageReader<AnswerHead, AnswerLines>(answerDialect({ method }));
  const [heads, answers, ends]: [AnswerHead[], Answer[], number[]] = [[], [], []];
  let body = '';
  let fed = 0;
  try {
    for (const chunk of chunks) {
      reader.feed(chunk);
      fed += chunk.length;
      for (let event = reader.next(); event !== undefined; event = reader.next()) {
        if (event.kind === 'head') heads.push(event.head);
        else if (event.kind === 'data') body += event.chunk.toString('latin1');
        else {
          const { status = 0, rawHeaders = [] } = heads.at(-1) ?? {};
          answers.push({ status, rawHeaders, body });
          ends.push(fed - reader.unread);
          body = '';
        }
      }
    }
  } catch (thrown) {
    if (!(thrown instanceof Denied)) throw thrown;
    return { heads, answers, ends, ending: 'refused' };
  }
  return { heads, answers, ends, ending: reader.idle ? 'idle' : 'more' };
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const whole = (text: string, method?: string): ReturnType<typeof read> => read([bytes(text)], method);
const byteByByte = (text: string, method?: string): ReturnType<typeof read> =>
  read(
    [...bytes(text)].map((byte) => Buffer.of(byte)),
    method,
  );

const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;

void t.test('reads what services send', async (t) => {
  const rows: readonly (readonly [text: string, answer: Partial<Answer>, head: Partial<AnswerHead>])[] = [
    [`${OK}Content-Length: 2\r\n\r\nok`, { status: 200, body: 'ok' }, { length: 2, keeps: true }],
    ['HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', { status: 200 }, { keeps: true }],
    ['HTTP/1.1 200 \xe5\x9a\r\nContent-Length: 0\r\n\r\n', { status: 200 }, {}],
    [`${OK}Content-Length: 007\r\n\r\n1234567`, { body: '1234567' }, { announced: 7 }],
    [
      `${OK}X-A: \t v w \t\r\nx-a:\r\nContent-Length: 0\r\n\r\n`,
      { rawHeaders: ['X-A', 'v w', 'x-a', '', 'Content-Length', '0'] },
      {},
    ],
    [
      `${CHUNKED}3\r\nabc\r\n0A;name="v w"\r\n0123456789\r\n0\r\n\r\n`,
      { body: 'abc0123456789' },
      { length: 'chunked' },
    ],
    [
      `${OK}Transfer-Encoding: Chunked\r\n\r\n0\r\nX-Late: 1\r\nx-sum: 2\r\n\r\n`,
      { body: '' },
      { keeps: true },
    ],
    [`${OK}Connection: close\r\nContent-Length: 1\r\n\r\na`, { body: 'a' }, { keeps: false }],
    [`${OK}Connection: Upgrade, Close\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n`, {}, { keeps: false }],
    [`${OK}Keep-Alive: timeout=5, max=100\r\nContent-Length: 0\r\n\r\n`, {}, { keepAliveSeconds: 5 }],
    [`${OK}Keep-Alive: max=100,timeout=7\r\nContent-Length: 0\r\n\r\n`, {}, { keepAliveSeconds: 7 }],
    [`${OK}Keep-Alive: timeout=x\r\nContent-Length: 0\r\n\r\n`, {}, { keepAliveSeconds: undefined }],
    ['HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na', { body: 'a' }, { keeps: false }],
    ['HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na', {}, { keeps: true }],
    [
      'HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n',
      { status: 204, body: '' },
      { hasContent: false, keeps: true },
    ],
    ['HTTP/1.1 304 Same\r\n\r\n', { status: 304 }, { hasContent: false, announced: undefined, keeps: true }],
    ['HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n', { status: 205 }, { hasContent: false, keeps: true }],
    ['HTTP/1.1 205 Reset\r\n\r\n', { status: 205 }, { hasContent: false, keeps: false }],
    ['HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n', { status: 599 }, {}],
  ];
  for (const [text, answer, head] of rows) {
    const reading = whole(text);
    t.equal(reading.ending, 'idle', JSON.stringify(text));
    t.match(reading.answers, [answer]);
    t.match(reading.heads, [head]);
    t.same(byteByByte(text), reading, 'byte by byte as well');
  }
  const head = whole(`${OK}Content-Length: 5\r\n\r\n`, 'HEAD');
  t.match(head, { ending: 'idle', heads: [{ announced: 5, hasContent: false, length: 0, keeps: true }] });
  const interim = whole(
    `HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n${OK}Content-Length: 1\r\n\r\na`,
  );
  t.match(interim.answers, [
    { status: 103, body: '' },
    { status: 200, body: 'a' },
  ]);
});

const refused: readonly (readonly [what: string, text: string])[] = [
  ['two lengths', `${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc`],
  ['two equal lengths', `${OK}Content-Length: 2\r\ncontent-length: 2\r\n\r\nab`],
  ['a length beside chunks', `${OK}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['chunks beside a length', `${OK}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n`],
  ['both, without content', `HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n`],
  ...['2, 2', '+2', '-2', '0x2', '', '2 2', '2.0', '18446744073709551617', '\xb2'].map(
    (value) => [`the length "${value}"`, `${OK}Content-Length: ${value}\r\n\r\nab`] as const,
  ),
  ...['gzip, chunked', 'chunked, chunked', 'identity', '', 'xchunked', '"chunked"'].map(
    (value) => [`the coding "${value}"`, `${OK}Transfer-Encoding: ${value}\r\n\r\n0\r\n\r\n`] as const,
  ),
  ['two codings', `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['a tab before the coding', `${OK}Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n`],
  ['chunks of HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['an end that is only the connection’s', `${OK}\r\nabc`],
  ...['099', '000', '600', '999', '2000', '20', '2x0', '-20', ' 200'].map(
    (status) => [`the status "${status}"`, `HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n`] as const,
  ),
  ['a status that runs into its reason', 'HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n'],
  ...['HTTP/2.0', 'HTTP/1.2', 'HTTP/0.9', 'http/1.1', 'ICY', 'HTTPS/1.1', ' HTTP/1.1', 'HTTP/1.1 '].map(
    (version) => [`"${version}"`, `${version} 200 OK\r\nContent-Length: 0\r\n\r\n`] as const,
  ),
  ['a switch of protocols', 'HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'],
  ['no HTTP at all', 'SSH-2.0-OpenSSH\r\n'],
  ['an empty line before the answer', `\r\n${OK}Content-Length: 0\r\n\r\n`],
  ['a line feed alone', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'],
  ['a line feed alone behind a field', `${OK}X: a\nContent-Length: 0\r\n\r\n`],
  ['a carriage return alone', `${OK}X: a\rb\r\nContent-Length: 0\r\n\r\n`],
  ['two carriage returns', `${OK}X: a\r\r\nContent-Length: 0\r\n\r\n`],
  ['NUL in a value', `${OK}X: a\0b\r\nContent-Length: 0\r\n\r\n`],
  ['a bell in the reason', 'HTTP/1.1 200 O\x07K\r\nContent-Length: 0\r\n\r\n'],
  ['a folded field', `${OK}X: a\r\n b\r\nContent-Length: 0\r\n\r\n`],
  ['a blank before the colon', `${OK}X : a\r\nContent-Length: 0\r\n\r\n`],
  ['an empty name', `${OK}: a\r\nContent-Length: 0\r\n\r\n`],
  ['a field without a colon', `${OK}X\r\nContent-Length: 0\r\n\r\n`],
  ['a head of 17 KiB', `${OK}X: ${'a'.repeat(17 * 1024)}\r\nContent-Length: 0\r\n\r\n`],
  ['4 000 fields', `${OK}${'X: 1\r\n'.repeat(4000)}\r\n`],
  ['a reason of 2 KiB', `HTTP/1.1 200 ${'a'.repeat(2048)}\r\nContent-Length: 0\r\n\r\n`],
  ['a field without end', `${OK}X: ${'a'.repeat(40_000)}`],
  ...['', 'g', '-1', '0x3', ' 3', '3 ', '3 ;a', '3\t', '10000000000000000', `3;${'a'.repeat(2000)}`].map(
    (size) => [`the chunk size "${size.slice(0, 12)}"`, `${CHUNKED}${size}\r\nabc\r\n0\r\n\r\n`] as const,
  ),
  ['a chunk size ended by a line feed', `${CHUNKED}3\nabc\r\n0\r\n\r\n`],
  ['a chunk longer than its size', `${CHUNKED}3\r\nabcd\r\n0\r\n\r\n`],
  ['a chunk shorter than its size', `${CHUNKED}4\r\nabc\r\n0\r\n\r\n`],
  ['NUL in an extension', `${CHUNKED}3;a\0\r\nabc\r\n0\r\n\r\n`],
  ['a trailer that is no field', `${CHUNKED}0\r\nHTTP/1.1 200 OK\r\n\r\n`],
  ['a folded trailer', `${CHUNKED}0\r\nX: 1\r\n 2\r\n\r\n`],
  ['trailers of 17 KiB', `${CHUNKED}0\r\n${'X: 1\r\n'.repeat(3000)}\r\n`],
];

void t.test('refuses', async (t) => {
  for (const [what, text] of refused) {
    const reading = whole(text);
    t.equal(reading.ending, 'refused', what);
    t.equal(reading.answers.length, 0, 'nothing complete');
    t.same(byteByByte(text), reading, 'byte by byte as well');
  }
});

void t.test('every truncation of an answer waits for more', async (t) => {
  for (const text of [`${OK}Content-Length: 3\r\n\r\nabc`, `${CHUNKED}3\r\nabc\r\n0\r\nX: 1\r\n\r\n`]) {
    for (let length = 1; length < text.length; length += 1) {
      t.match(whole(text.slice(0, length)), { answers: [], ending: 'more' }, `${length} bytes`);
    }
  }
});

// —— generated answers: pieces of good and of crooked HTTP ——

const lineEnd = fc.oneof(
  { weight: 30, arbitrary: fc.constant('\r\n') },
  { weight: 1, arbitrary: fc.constantFrom('\n', '\r', '\r\r\n', '') },
);
const field = fc.constantFrom(
  'Content-Length: 3',
  'Content-Length: 3',
  'Content-Length: 0',
  'Content-Length: 03',
  'Content-Length: 3,3',
  'Content-Length : 3',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: chunked',
  'transfer-encoding:Chunked',
  'Transfer-Encoding: gzip, chunked',
  'Connection: close',
  'Connection: keep-alive, x',
  'Upgrade: h2c',
  'X_A: \xe9',
  'X-A: a\tb',
  ' X: 1',
  'X: a\0',
  'X-\x80: 1',
  'Trailer: y',
  'Keep-Alive: timeout=5',
);
const statusLine = fc.constantFrom(
  'HTTP/1.1 200 OK',
  'HTTP/1.1 200 OK',
  'HTTP/1.1 201',
  'HTTP/1.1 204 No Content',
  'HTTP/1.1 304 Not Modified',
  'HTTP/1.1 404 \xe9',
  'HTTP/1.0 200 OK',
  'HTTP/1.1 103 Early Hints',
  'HTTP/1.1  200 OK',
  'HTTP/2.0 200 OK',
);
const chunk = fc
  .tuple(
    fc.constantFrom('3', '3', '03', '3;x', '3;x=y', '3 ', '0', 'A'),
    lineEnd,
    fc.constantFrom('abc', 'abc', 'ab', '0\r\n'),
    lineEnd,
  )
  .map((parts) => parts.join(''));
const content = fc.oneof(
  fc.constantFrom('', 'abc', 'abcd', '0\r\n\r\n', '3\r\nabc\r\n0\r\n\r\n', '3\r\nabc\r\n0\r\nX: 1\r\n\r\n'),
  fc
    .tuple(fc.array(chunk, { maxLength: 3 }), fc.constantFrom('0\r\n\r\n', '0\r\n', '00\r\n\r\n', ''))
    .map(([chunks, end]) => chunks.join('') + end),
);
const fields = fc
  .array(fc.tuple(field, lineEnd), { maxLength: 4 })
  .map((all) => all.map((pair) => pair.join('')).join(''));
const answer = fc.tuple(statusLine, lineEnd, fields, lineEnd, content).map((parts) => parts.join(''));
const asked = fc.constantFrom('GET', 'GET', 'HEAD');

void t.test('how an answer is cut into chunks changes nothing', async () => {
  fc.assert(
    fc.property(answer, asked, fc.array(fc.nat(100), { maxLength: 20 }), (text, method, cuts) => {
      const chunks: Buffer[] = [];
      let rest = bytes(text);
      for (const cut of cuts) {
        chunks.push(rest.subarray(0, cut));
        rest = rest.subarray(cut);
      }
      const expected = JSON.stringify(whole(text, method));
      return (
        JSON.stringify(read([...chunks, rest], method)) === expected &&
        JSON.stringify(byteByByte(text, method)) === expected
      );
    }),
    { numRuns: 5000 },
  );
});

/** What Node's own client makes of it, or undefined when it refuses, waits or cannot tell an end from a cut. */
function readByNode(text: string, method: string): Promise<Answer | undefined> {
  const [ours, theirs] = duplexPair();
  return new Promise((resolve) => {
    const client = request({ method, createConnection: () => theirs });
    theirs.on('close', () => resolve(undefined));
    client.on('error', () => resolve(undefined));
    client.on('response', (message: IncomingMessage) => {
      let body = '';
      message.setEncoding('latin1').on('data', (piece: string) => (body += piece));
      message.on('error', () => resolve(undefined));
      message.on('end', () => {
        resolve(
          message.complete
            ? { status: message.statusCode ?? 0, rawHeaders: message.rawHeaders, body }
            : undefined,
        );
      });
    });
    client.end();
    ours.on('error', () => undefined).resume();
    ours.end(bytes(text));
  });
}

void t.test('whatever we accept, the parser of Node accepts with the same meaning', async (t) => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(answer, asked, async (text, method) => {
      const { answers, ends } = whole(text, method);
      const last = answers.findIndex(({ status }) => status >= 200);
      if (last < 0) return true;
      accepted += 1;
      const theirs = await readByNode(text.slice(0, ends[last]), method);
      return JSON.stringify(theirs) === JSON.stringify(answers[last]);
    }),
    { numRuns: 10_000 },
  );
  t.ok(accepted > 300, `${accepted} answers compared`);
});
