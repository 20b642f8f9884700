import fc from 'fast-check';
import t from 'tap';
import { answerHead, requestHead, trailerSection } from '../../conformance/builders/troad-frames.ts';
import { MalformedBytes } from '../core/errors.ts';
import type { Field, Fields } from '../core/fields.ts';
import { linkFields } from '../message/headers.ts';
import { decodeAnswer, decodeRequest, decodeTrailers, EncodedHead } from './frame-head.ts';

const LIMITS = { headBytes: 32 * 1024, fields: 100 };
const HOST = 'gw.b07.tw.troad.example';

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9a-z-]{1,20}$/);
const knownName = fc.constantFrom('signature', 'content-type', 't-road-exchange', 'x-road-userid', 'accept');
const TRANSPORT = ['host', 'te', 'trailer', 'upgrade', 'connection', 'content-length', 'keep-alive'];
const names = fc.oneof(token, knownName).filter((text) => !TRANSPORT.includes(text));
const values = fc.stringMatching(/^[\t\x20-\x7e]{0,60}$/);
const sections: fc.Arbitrary<Field[]> = fc.array(fc.tuple(names, values), { maxLength: 20 });
const paths = fc.stringMatching(/^\/[\x21-\x3e\x40-\x7e]{0,40}$/);
const queries = fc.oneof(fc.constant(''), fc.stringMatching(/^\?[\x21-\x7e]{0,20}$/));
const lengths = fc.oneof(
  fc.constant(undefined),
  fc.constantFrom(0, 1, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
);

const written = (head: EncodedHead, before = 3): readonly [Buffer, number, number] => {
  const bytes = Buffer.alloc(before + head.bytes + 5, 0xee);
  const to = head.write(bytes, before);
  if (to !== before + head.bytes) throw new Error(`${to} is not ${before + head.bytes}`);
  return [bytes, before, to];
};
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

void t.test('what is written is read', async () => {
  const methods = fc.constantFrom('GET', 'POST', 'DELETE', 'M-SEARCH', 'get');
  fc.assert(
    fc.property(methods, paths, queries, sections, lengths, (method, path, query, fields, length) => {
      const head = { method, authority: HOST, path, query, fields };
      const read = decodeRequest(...written(EncodedHead.request(head, length, LIMITS)), LIMITS);
      return same(read, { method, authority: HOST, path: path + query, fields, length });
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 200, max: 599 }), sections, lengths, (status, fields, length) => {
      const read = decodeAnswer(...written(EncodedHead.answer({ status, fields }, length, LIMITS)), LIMITS);
      return same(read, { status, fields, length });
    }),
  );
  fc.assert(
    fc.property(sections, (fields) => {
      if (fields.length === 0) return true;
      return same(decodeTrailers(...written(EncodedHead.trailers(fields, LIMITS)), LIMITS), fields);
    }),
  );
});

void t.test('names of the table and names spelled out mean the same', async (t) => {
  const lines = [
    ['signature', 'a'],
    ['x-other', 'b'],
  ] as const;
  const bytes = requestHead({ authority: HOST, path: '/x?y' }, -1, lines);
  const { canonical, ...head } = decodeRequest(bytes, 0, bytes.length, LIMITS);
  t.strictSame(head, { method: 'POST', authority: HOST, path: '/x?y', fields: lines, length: undefined });
  t.strictSame(canonical(), lines);
});

void t.test('values that were looked through together make what they make one by one', async () => {
  const hostile = fc.constantFrom(
    'user-agent',
    'forwarded',
    't_road_user',
    'x_own',
    'date',
    'accept',
    't-road-user',
  );
  const blank = fc.constantFrom('', ' ', '\t \t', ' a', 'a\t', ' a \t b ');
  const lines = fc.array(fc.tuple(fc.oneof(names, hostile), fc.oneof(values, blank)), { maxLength: 12 });
  const outcome = (make: () => Fields): string => {
    try {
      return JSON.stringify(make());
    } catch (cause) {
      return String(cause);
    }
  };
  fc.assert(
    fc.property(lines, (fields) => {
      const head = EncodedHead.request(
        { method: 'GET', authority: HOST, path: '/', query: '', fields },
        0,
        LIMITS,
      );
      const read = decodeRequest(...written(head), LIMITS);
      return outcome(read.canonical) === outcome(() => linkFields(fields));
    }),
    { numRuns: 1000 },
  );
});

/** Every prefix is refused, and no changed byte leads to anything but a head or a refusal. */
function fuzz(bytes: Buffer, decode: (bytes: Buffer) => unknown): void {
  for (let end = 0; end < bytes.length; end++) {
    let read: unknown;
    try {
      read = decode(bytes.subarray(0, end));
    } catch (cause) {
      // A frame of less than its kind's least bytes is refused before this: reading over the end is Node's RangeError.
      if (cause instanceof MalformedBytes || (end < 13 && cause instanceof RangeError)) continue;
      throw cause;
    }
    throw new Error(`${end} of ${bytes.length} bytes were taken for ${JSON.stringify(read)}`);
  }
  for (let at = 0; at < bytes.length; at++) {
    for (const flip of [1, 0x20, 0x80, 0xff]) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ flip;
      try {
        decode(changed);
      } catch (cause) {
        if (!(cause instanceof MalformedBytes)) throw cause;
      }
    }
  }
}

void t.test('cut and changed heads', async (t) => {
  const lines = [
    ['accept', 'text/plain'],
    ['x-a', ''],
    ['signature', 'final=:AAAA:'],
  ] as const;
  fuzz(requestHead({ authority: HOST, path: '/a/b?c' }, 5, lines), (bytes) =>
    decodeRequest(bytes, 0, bytes.length, LIMITS),
  );
  fuzz(answerHead(200, 5, lines), (bytes) => decodeAnswer(bytes, 0, bytes.length, LIMITS));
  fuzz(trailerSection(lines), (bytes) => decodeTrailers(bytes, 0, bytes.length, LIMITS));
  const [table, from, to] = written(EncodedHead.answer({ status: 200, fields: lines }, undefined, LIMITS));
  fuzz(table.subarray(from, to), (bytes) => decodeAnswer(bytes, 0, bytes.length, LIMITS));
  t.pass('nothing but heads and refusals');
});

void t.test('heads that are none', async (t) => {
  const request = (line: object, lines: readonly (readonly [string, string])[] = []): Buffer =>
    requestHead({ authority: HOST, ...line }, 0, lines);
  const rows: readonly (readonly [what: string, bytes: Buffer])[] = [
    ['CONNECT', request({ method: 'CONNECT' })],
    ['no method', request({ method: '' })],
    ['a method with a space', request({ method: 'GET /' })],
    ['no authority', request({ authority: '' })],
    ['no path', request({ path: '' })],
    ['an absolute target', request({ path: 'https://x/' })],
    ['a path with a space', request({ path: '/a b' })],
    ['a path with a line end', request({ path: '/a\r\nx' })],
    ['an upper-case name', request({}, [['X-A', 'b']])],
    ['a name with a colon', request({}, [['x:a', 'b']])],
    ['a pseudo-header field', request({}, [[':path', '/']])],
    ['no name', request({}, [['', 'b']])],
    ['a value with a line end', request({}, [['x-a', 'b\r\nx-b: c']])],
    ['a value with a NUL', request({}, [['x-a', 'b\0']])],
    ['a value that is not ASCII', request({}, [['x-a', 'é']])],
    ...TRANSPORT.map((name) => [name, request({}, [[name, 'x']])] as const),
    [
      '101 fields',
      request(
        {},
        Array.from({ length: 101 }, (_, i) => [`x-${i}`, ''] as const),
      ),
    ],
    ['bytes behind the text', Buffer.concat([request({}), Buffer.from('x')])],
    ['an impossible length', requestHead({ authority: HOST }, -2)],
  ];
  for (const [what, bytes] of rows) {
    t.throws(() => decodeRequest(bytes, 0, bytes.length, LIMITS), MalformedBytes, what);
  }
  for (const status of [0, 100, 101, 199, 600, 999]) {
    const bytes = answerHead(status, 0);
    t.throws(() => decodeAnswer(bytes, 0, bytes.length, LIMITS), MalformedBytes, `status ${status}`);
  }
  const small = { headBytes: 200, fields: 3 };
  const long = request({}, [['x-a', 'y'.repeat(160)]]);
  t.throws(() => decodeRequest(long, 0, long.length, small), MalformedBytes, '32 bytes a field count too');
  const none = trailerSection([]);
  t.throws(() => decodeTrailers(none, 0, none.length, LIMITS), MalformedBytes, 'no trailers');
  const unknown = answerHead(200, 0, [['x', '']]);
  unknown[13] = 255;
  t.throws(() => decodeAnswer(unknown, 0, unknown.length, LIMITS), MalformedBytes, 'a name of no table');
});

void t.test('what cannot be sent is told before a byte is written', async (t) => {
  const head = { method: 'GET', authority: HOST, path: '/', query: '', fields: [] as Field[] };
  const send = (more: object) => () => EncodedHead.request({ ...head, ...more }, 0, LIMITS);
  t.throws(send({ fields: [['host', 'x']] }), /transport/);
  t.throws(send({ fields: [[':path', '/']] }), /transport/);
  t.throws(send({ fields: [['X-A', 'b']] }), /field name/);
  t.throws(send({ fields: [['x'.repeat(128), 'b']] }), /field name/);
  t.throws(send({ fields: [['x-a', 'ａ']] }), /cannot be sent/, 'not even cut to a byte');
  t.throws(send({ fields: [['x-a', 'b\r\n']] }), /cannot be sent/);
  t.throws(send({ fields: [['x-a', 'y'.repeat(40_000)]] }), /more than/);
  t.throws(send({ fields: Array.from({ length: 101 }, (_, i) => [`x-${i}`, 'y']) }), /more than/);
  t.throws(send({ path: 'x' }), /request line/);
  t.throws(send({ method: 'G T' }), /request line/);
});
