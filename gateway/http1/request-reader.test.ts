import { createServer, type IncomingMessage } from 'node:http';
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { Denied } from '../core/errors.ts';
import type { RefusalCode } from '../core/refusals.ts';
import { RequestReader } from './request-reader.ts';

const LIMITS = { targetBytes: 8000, headerBytes: 16 * 1024, fields: 100 };

interface Message {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: readonly string[];
  readonly body: string;
}
interface Reading {
  readonly messages: readonly Message[];
  /** Refusal, or `more` when the stream ended inside a message, or `idle`. */
  readonly ending: RefusalCode | 'more' | 'idle';
  /** Where each message ended. */
  readonly ends: readonly number[];
}

function read(chunks: readonly Buffer[]): Reading {
  const reader = new RequestReader(LIMITS);
  const messages: Message[] = [];
  const ends: number[] = [];
  let fed = 0;
  let head: Omit<Message, 'body'> = { method: '', target: '', rawHeaders: [] };
  let body = '';
  try {
    for (const chunk of chunks) {
      reader.feed(chunk);
      fed += chunk.length;
      for (let event = reader.next(); event !== undefined; event = reader.next()) {
        if (event.kind === 'head') {
          const { method, target, rawHeaders } = event.head;
          [head, body] = [{ method, target, rawHeaders }, ''];
        } else if (event.kind === 'data') body += event.chunk.toString('latin1');
        else {
          messages.push({ ...head, body });
          ends.push(fed - reader.unread);
        }
      }
    }
  } catch (thrown) {
    if (!(thrown instanceof Denied)) throw thrown;
    return { messages, ends, ending: thrown.code };
  }
  return { messages, ends, ending: reader.idle ? 'idle' : 'more' };
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const whole = (text: string): Reading => read([bytes(text)]);
const byteByByte = (text: string): Reading => read([...bytes(text)].map((byte) => Buffer.of(byte)));

const GET = 'GET /r1 HTTP/1.1\r\nHost: gw\r\n';
const POST = 'POST /r1 HTTP/1.1\r\nHost: gw\r\n';
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`;

void t.test('reads what is spelled plainly', async (t) => {
  const wanted: readonly (readonly [string, readonly Partial<Message>[]])[] = [
    [`${GET}\r\n`, [{ method: 'GET', target: '/r1', body: '' }]],
    [`${GET}X-A:  \t v w \t\r\n\r\n`, [{ rawHeaders: ['Host', 'gw', 'X-A', 'v w'] }]],
    [
      `${GET}X-A:\r\nx_b: \xe9\xa0\r\nx-a: 2\r\n\r\n`,
      [{ rawHeaders: ['Host', 'gw', 'X-A', '', 'x_b', '\xe9\xa0', 'x-a', '2'] }],
    ],
    [
      `${GET}__proto__: 1\r\nconstructor: 2\r\n\r\n`,
      [{ rawHeaders: ['Host', 'gw', '__proto__', '1', 'constructor', '2'] }],
    ],
    [`GET http://h/?a#b HTTP/1.1\r\nHost: gw\r\n\r\n`, [{ target: 'http://h/?a#b' }]],
    [`${POST}Content-Length: 3\r\n\r\nabc${GET}\r\n`, [{ body: 'abc' }, { method: 'GET' }]],
    [`DELETE /r1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n`, [{ method: 'DELETE', body: '' }]],
    [`${CHUNKED}3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n`, [{ body: 'abc0123456789' }]],
    [`${CHUNKED}0\r\n\r\n`, [{ body: '' }]],
    [`${CHUNKED}2\r\n\r\n\r\n0\r\n\r\n`, [{ body: '\r\n' }]],
  ];
  for (const [text, messages] of wanted) {
    const reading = whole(text);
    t.equal(reading.ending, 'idle', JSON.stringify(text));
    t.equal(reading.messages.length, messages.length);
    t.match(reading.messages, messages);
    t.same(byteByByte(text), reading);
  }
});

void t.test(
  'a name that says something says it in any spelling, and one of its length does not',
  async (t) => {
    const head = (...fields: readonly string[]): object | undefined => {
      const reader = new RequestReader(LIMITS);
      reader.feed(bytes(`POST /r1 HTTP/1.1\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`));
      const event = reader.next();
      return event?.kind === 'head' ? { ...event.head, ...reader.wishes } : undefined;
    };
    const says: readonly (readonly [name: string, value: string, said: object | RefusalCode])[] = [
      ['accept', 'text/plain', { accept: 'text/plain' }],
      ['accept-language', 'zh-TW', { acceptLanguage: 'zh-TW' }],
      ['connection', 'close', { closes: true }],
      ['expect', '100-continue', { expectsContinue: true }],
      ['content-length', '3', { length: 3 }],
      ['transfer-encoding', 'chunked', { length: 'chunked' }],
      ['upgrade', 'h2c', 'framing.upgrade'],
    ];
    const silent = head('Host: gw');
    for (const [name, value, said] of says) {
      for (const spelled of [
        name,
        name.toUpperCase(),
        `${name.slice(0, -1)}${name.slice(-1).toUpperCase()}`,
      ]) {
        const ask = () => head('hOST: gw', `${spelled}: ${value}`);
        if (typeof said === 'string') t.throws(ask, { code: said }, spelled);
        else {
          t.notMatch(silent, said);
          t.match(ask(), said, spelled);
        }
      }
      t.match(head('Host: gw', `${'x'.repeat(name.length)}: ${value}`), { ...silent, rawHeaders: [] }, name);
    }
    t.throws(() => head('hosts: gw'), { code: 'framing.malformed' });
  },
);

// One row, one change to something good, one code.
const refused: readonly (readonly [what: string, text: string, code: RefusalCode])[] = [
  [
    'a length beside a coding',
    `${POST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
    'framing.malformed',
  ],
  [
    'a coding beside a length',
    `${POST}Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n`,
    'framing.malformed',
  ],
  ['two equal lengths', `${POST}Content-Length: 1\r\ncontent-length: 1\r\n\r\n`, 'framing.malformed'],
  ...['1, 1', '+1', '-1', '0x1', '', '01', '18446744073709551617', '1 1', '1.0', '\xb2'].map(
    (value) =>
      [`the length "${value}"`, `${POST}Content-Length: ${value}\r\n\r\n`, 'framing.malformed'] as const,
  ),
  ...[
    'xchunked',
    'identity',
    '"chunked"',
    'chunked, identity',
    'gzip, chunked',
    'chunked, chunked',
    'Chunked',
    '',
    'chunked;q=1',
  ].map(
    (value) =>
      [`the coding "${value}"`, `${POST}Transfer-Encoding: ${value}\r\n\r\n`, 'framing.malformed'] as const,
  ),
  [
    'two codings',
    `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    'framing.malformed',
  ],
  ['a coding behind a vertical tab', `${POST}Transfer-Encoding: \x0bchunked\r\n\r\n`, 'framing.malformed'],
  ['a tab behind the coding', `${POST}Transfer-Encoding: chunked\t\r\n\r\n`, 'framing.malformed'],
  ['a folded coding', `${POST}Transfer-Encoding:\r\n chunked\r\n\r\n`, 'framing.malformed'],
  [
    'a coding on HTTP/1.0',
    'POST / HTTP/1.0\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n',
    'framing.version',
  ],
  ...['HTTP/1.0', 'HTTP/1.9', 'HTTP/2.0', 'HTTP/0.9'].map(
    (version) => [version, `GET / ${version}\r\nHost: gw\r\n\r\n`, 'framing.version'] as const,
  ),
  ...['HTTP/1.1 ', ' HTTP/1.1', 'http/1.1', 'HTTP/1.10', 'HTTP/1', 'HTTPS/1.1'].map(
    (version) => [`"${version}"`, `GET / ${version}\r\nHost: gw\r\n\r\n`, 'framing.malformed'] as const,
  ),
  ['an HTTP/0.9 request', 'GET /\r\n', 'framing.malformed'],
  ['a tab in the request line', 'GET\t/ HTTP/1.1\r\nHost: gw\r\n\r\n', 'framing.malformed'],
  ['an empty line before the request', `\r\n${GET}\r\n`, 'framing.malformed'],
  ['a TLS hello', '\x16\x03\x01\x02\x00\x01', 'framing.malformed'],
  ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'framing.method'],
  ...['CONNECT', 'TRACE', 'get', 'PROPFIND', 'X-LONG-METHOD-NAME'].map(
    (method) => [method, `${method} / HTTP/1.1\r\nHost: gw\r\n\r\n`, 'framing.method'] as const,
  ),
  ['Upgrade: h2c', `${GET}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n`, 'framing.upgrade'],
  ['a line feed alone', 'GET / HTTP/1.1\nHost: gw\r\n\r\n', 'framing.malformed'],
  ['a carriage return alone', `${GET}X: a\rb\r\n\r\n`, 'framing.malformed'],
  ['two carriage returns', `${GET}X: a\r\r\n\r\n`, 'framing.malformed'],
  ['NUL in a value', `${GET}X: a\0b\r\n\r\n`, 'framing.malformed'],
  ['DEL in a value', `${GET}X: a\x7fb\r\n\r\n`, 'framing.malformed'],
  ['a folded field', `${GET}X: a\r\n b\r\n\r\n`, 'framing.malformed'],
  ['a line of blanks', `${GET} \r\n\r\n`, 'framing.malformed'],
  ['an empty name', `${GET}: a\r\n\r\n`, 'framing.malformed'],
  ['a blank before the colon', `${GET}X : a\r\n\r\n`, 'framing.malformed'],
  ['a name of other letters', `${GET}X\xe9: a\r\n\r\n`, 'framing.malformed'],
  ['a field without a colon', `${GET}X\r\n\r\n`, 'framing.malformed'],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 'framing.malformed'],
  ...['GET', 'HEAD', 'DELETE', 'OPTIONS'].flatMap((method) =>
    ['Content-Length: 5', 'Transfer-Encoding: chunked'].map(
      (field) =>
        [
          `${method} with ${field}`,
          `${method} / HTTP/1.1\r\nHost: gw\r\n${field}\r\n\r\n`,
          'framing.body_unexpected',
        ] as const,
    ),
  ),
  ['another expectation', `${POST}Expect: 200-ok\r\nContent-Length: 1\r\n\r\n`, 'framing.expectation'],
  [
    'two expectations',
    `${POST}Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n`,
    'framing.expectation',
  ],
  [
    'a target of 8 001 bytes',
    `GET /${'a'.repeat(8000)} HTTP/1.1\r\nHost: gw\r\n\r\n`,
    'framing.target_too_long',
  ],
  ['a request line without end', `GET /${'a'.repeat(9000)}`, 'framing.target_too_long'],
  ['101 fields', `${GET}${'X: 1\r\n'.repeat(100)}\r\n`, 'framing.headers_too_large'],
  ['2 100 fields', `${GET}${'X: 1\r\n'.repeat(2100)}\r\n`, 'framing.headers_too_large'],
  ['one field of 16 KiB', `${GET}X: ${'a'.repeat(16_384)}\r\n\r\n`, 'framing.headers_too_large'],
  ['a field without end', `${GET}X: ${'a'.repeat(20_000)}`, 'framing.headers_too_large'],
  ...[
    '3;a=b',
    `3;${'a'.repeat(20_000)}`,
    '03',
    '0x3',
    ' 3',
    '3 ',
    'g',
    '',
    '-1',
    '100000000',
    '00',
    '0000000000',
    '3\t',
  ].map(
    (size) =>
      [
        `the chunk size "${size.slice(0, 12)}"`,
        `${CHUNKED}${size}\r\nabc\r\n0\r\n\r\n`,
        'framing.malformed',
      ] as const,
  ),
  ['a chunk size ended by a line feed', `${CHUNKED}3\nabc\r\n0\r\n\r\n`, 'framing.malformed'],
  ['a chunk longer than its size', `${CHUNKED}3\r\nabcd\r\n0\r\n\r\n`, 'framing.malformed'],
  ['a chunk shorter than its size', `${CHUNKED}4\r\nabc\r\n0\r\n\r\n`, 'framing.malformed'],
  ['a chunk ended by a line feed', `${CHUNKED}3\r\nabc\n0\r\n\r\n`, 'framing.malformed'],
  ['a trailer', `${CHUNKED}0\r\nHost: other\r\n\r\n`, 'framing.trailer'],
  [
    'an announced trailer',
    `${POST}Trailer: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: 1\r\n\r\n`,
    'framing.trailer',
  ],
  ['a folded nothing as trailer', `${CHUNKED}0\r\n \r\n\r\n`, 'framing.malformed'],
  ['an end of a line feed', `${CHUNKED}0\r\n\n`, 'framing.malformed'],
];

void t.test('refuses', async (t) => {
  for (const [what, text, code] of refused) {
    const reading = whole(text);
    t.equal(reading.ending, code, `${what}: ${code}`);
    t.equal(reading.messages.length, 0, 'nothing complete');
    t.same(byteByByte(text), reading, 'byte by byte as well');
  }
});

void t.test('limits are met exactly', async (t) => {
  t.equal(
    whole(`GET /${'a'.repeat(7999)} HTTP/1.1\r\nHost: gw\r\n\r\n`).ending,
    'idle',
    '8 000 bytes of target',
  );
  t.equal(whole(`${GET}${'X: 1\r\n'.repeat(99)}\r\n`).ending, 'idle', '100 fields');
  const room = LIMITS.headerBytes - 'Host: gw\r\nX: \r\n\r\n'.length;
  t.equal(whole(`${GET}X: ${'a'.repeat(room)}\r\n\r\n`).ending, 'idle', '16 384 bytes');
  t.equal(
    whole(`${GET}X: ${'a'.repeat(room + 1)}\r\n\r\n`).ending,
    'framing.headers_too_large',
    '16 385 bytes',
  );
});

void t.test('every truncation of a message waits for more', async (t) => {
  const text = `${CHUNKED}3\r\nabc\r\n0\r\n\r\n`;
  for (let length = 1; length < text.length; length += 1) {
    t.same(whole(text.slice(0, length)), { messages: [], ends: [], ending: 'more' }, `${length} bytes`);
  }
});

void t.test('content is the very memory that was fed', async (t) => {
  const reader = new RequestReader(LIMITS);
  reader.feed(bytes(`${POST}Content-Length: 4\r\n\r\n`));
  t.equal(reader.next()?.kind, 'head');
  const chunk = Buffer.from('abcd');
  reader.feed(chunk);
  const event = reader.next();
  t.equal(event?.kind === 'data' && event.chunk, chunk);
});

// —— generated streams: pieces of good and of crooked HTTP, so that many are nearly right ——

const crookedField = fc.constantFrom(
  'Content-Length: 3',
  'Content-Length: 0',
  'content-length:3 ',
  'Content-Length: 03',
  'Content-Length : 3',
  'Content-Length: 3,3',
  'Transfer-Encoding: chunked',
  'transfer-encoding:chunked\t',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: Chunked',
  'Host: b',
  'X-A: 1',
  'X-A:',
  'X_A: \xe9',
  'X-A: a\tb',
  ' X: 1',
  'X: a\0',
  'X: a\rb',
  'Connection: close',
  'Connection: keep-alive, x',
  'Upgrade: h2c',
  'Expect: 100-continue',
  'Trailer: y',
  'X-\x80: 1',
  '__proto__: x',
  'X: \xa0',
  'Keep-Alive: timeout=5',
  'TE: trailers',
);
const lineEnd = fc.oneof(
  { weight: 30, arbitrary: fc.constant('\r\n') },
  { weight: 1, arbitrary: fc.constantFrom('\n', '\r', '\r\r\n', '') },
);
const lines = (line: fc.Arbitrary<string>, max: number): fc.Arbitrary<string> =>
  fc
    .array(fc.tuple(line, lineEnd), { maxLength: max })
    .map((all) => all.map((pair) => pair.join('')).join(''));
const requestLine = fc
  .tuple(
    fc.constantFrom('GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'DELETE', 'PATCH', 'TRACE', 'post', 'CONNECT'),
    fc.constantFrom(
      '/',
      '/a?b=c',
      '*',
      '//x',
      '/a b',
      'http://h/p',
      '/#f',
      '/%zz',
      '/;x',
      '/\\',
      '/"<>',
      '/:80',
    ),
    fc.constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/1.1 '),
  )
  .map((parts) => parts.join(' '));
const chunk = fc
  .tuple(
    fc.constantFrom('3', '3', '3', '03', '3;x', '3 ', '0', 'A'),
    lineEnd,
    fc.constantFrom('abc', 'abc', 'ab', '\r\n\r', '0\r\n'),
    lineEnd,
  )
  .map((parts) => parts.join(''));
const content = fc.oneof(
  fc.constantFrom('', 'abc', 'abcd', '0\r\n\r\n', '3\r\nabc\r\n0\r\n\r\n', '3\r\nabc\r\n0\r\nX: 1\r\n\r\n'),
  fc
    .tuple(fc.array(chunk, { maxLength: 3 }), fc.constantFrom('0\r\n\r\n', '0\r\n', '00\r\n\r\n', ''))
    .map(([chunks, end]) => chunks.join('') + end),
);
const message = fc
  .tuple(
    requestLine,
    lineEnd,
    fc.constantFrom('Host: a\r\n', 'Host: a\r\n', ''),
    lines(crookedField, 4),
    lineEnd,
    content,
  )
  .map((parts) => parts.join(''));
const stream = fc.array(message, { minLength: 1, maxLength: 3 }).map((all) => all.join(''));

void t.test('how a stream is cut into chunks changes nothing', async () => {
  fc.assert(
    fc.property(stream, fc.array(fc.nat(200), { maxLength: 20 }), (text, cuts) => {
      const chunks: Buffer[] = [];
      let rest = bytes(text);
      for (const cut of cuts) {
        chunks.push(rest.subarray(0, cut));
        rest = rest.subarray(cut);
      }
      const expected = JSON.stringify(whole(text));
      return (
        JSON.stringify(read([...chunks, rest])) === expected && JSON.stringify(byteByByte(text)) === expected
      );
    }),
    { numRuns: 5000 },
  );
});

void t.test('arbitrary bytes are refused or wait, never anything else', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
      read([Buffer.from(noise)]);
      read([bytes(CHUNKED), Buffer.from(noise)]);
    }),
    { numRuns: 3000 },
  );
});

/** What Node's own parser makes of a stream: complete messages in order. */
async function readByNode(text: string): Promise<readonly Message[]> {
  const messages: Message[] = [];
  const server = createServer({ maxHeaderSize: 64 * 1024, requestTimeout: 0, headersTimeout: 0 });
  server.on('request', (request: IncomingMessage, response) => {
    const { method = '', url: target = '', rawHeaders } = request;
    let body = '';
    request.setEncoding('latin1').on('data', (piece: string) => (body += piece));
    request.on('error', () => {});
    request.on('end', () => {
      if (request.rawTrailers.length === 0) messages.push({ method, target, rawHeaders, body });
    });
    response.on('error', () => {});
    response.end();
  });
  const [ours, theirs] = duplexPair();
  server.emit('connection', theirs);
  ours.resume().on('error', () => {});
  await new Promise<void>((resolve) => {
    theirs.on('error', () => {}).on('close', resolve);
    ours.end(bytes(text));
  });
  return messages;
}

void t.test('whatever we accept, the parser of Node accepts with the same meaning', async (t) => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(stream, async (text) => {
      const { messages, ends } = whole(text);
      // Answers with Connection: close end what Node reads, so the comparison ends there as well.
      const last = messages.findIndex(({ rawHeaders }) => rawHeaders.some((value) => /^close$/i.test(value)));
      const compared = last < 0 ? messages : messages.slice(0, last + 1);
      if (compared.length === 0) return true;
      accepted += compared.length;
      const theirs = await readByNode(text.slice(0, ends[compared.length - 1]));
      return JSON.stringify(theirs) === JSON.stringify(compared);
    }),
    { numRuns: 20_000 },
  );
  t.ok(accepted > 300, `${accepted} messages compared`);
});
