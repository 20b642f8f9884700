import fc from 'fast-check';
import t from 'tap';
import { MalformedBytes } from '../core/errors.ts';
import { encodeCommand, ReplyReader, StoreError } from './resp.ts';

void t.test('a command is lengths and bytes, never text to be parsed', async (t) => {
  t.equal(encodeCommand(['SET', 'a\r\nDEL b', '憑']), '*3\r\n$3\r\nSET\r\n$8\r\na\r\nDEL b\r\n$3\r\n憑\r\n');
});

const WIRE = '+OK\r\n$-1\r\n:-12\r\n$5\r\na\r\n憑'.slice(0, -1);
const ALL = Buffer.from(`${WIRE}bc\r\n*2\r\n$1\r\nk\r\n*1\r\n+v\r\n*-1\r\n-OOM no room\r\n*0\r\n$0\r\n\r\n`);
const EXPECTED = ['OK', null, -12, 'a\r\nbc', ['k', ['v']], null, new StoreError('OOM no room'), [], ''];

void t.test('replies, however the bytes are cut', async (t) => {
  t.same(new ReplyReader().read(ALL), EXPECTED);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: ALL.length }), { maxLength: 12 }), (cuts) => {
      const reader = new ReplyReader();
      const edges = [0, ...cuts.toSorted((a, b) => a - b), ALL.length];
      const replies = edges.slice(1).flatMap((end, i) => reader.read(ALL.subarray(edges[i], end)));
      return JSON.stringify(replies) === JSON.stringify(EXPECTED);
    }),
  );
});

for (const [what, bytes] of [
  ['an unknown kind', '?1\r\n'],
  ['HTTP', 'HTTP/1.1 400 Bad Request\r\n'],
  ['a text longer than it says', '$1\r\nabc\r\n'],
  ['a length that is no number', '$1e9\r\n'],
  ['a text of two MiB', '$2097152\r\n'],
  ['a list of a million', '*1000000\r\n'],
  ['lists in lists in lists', '*1\r\n'.repeat(20)],
  ['a line without an end', '+'.padEnd(5000, 'x')],
  ['a number beyond all numbers', ':99999999999999999\r\n'],
] as const)
  void t.test(`${what}: given up`, async (t) => {
    t.throws(() => new ReplyReader().read(Buffer.from(bytes)), MalformedBytes);
  });
