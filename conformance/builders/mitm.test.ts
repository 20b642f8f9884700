import t from 'tap';
import type { Fields } from '../../gateway/core/fields.ts';
import type { LinkArrival } from '../../gateway/link/link.ts';
import { makeGateways, makePair, receive, requestHead } from './link-pair.ts';
import {
  dropField,
  dropTrailers,
  extendWith,
  flipByteAt,
  makeMitm,
  type Mitm,
  type MessageTamper,
  replaceBody,
  setField,
  truncateAt,
} from './mitm.ts';
import { makeTroadMitm } from './troad-mitm.ts';

// The man in the middle does what its name says, or the tests that rely on it prove nothing.

const gateways = await makeGateways();
const BODY = Buffer.from('0123456789');
const END: Fields = [['t-road-end', 'length=10']];
const body: readonly (readonly [what: string, tamper: MessageTamper, result: string])[] = [
  ['flips a byte', flipByteAt(3), '0122456789'],
  ['flips the last byte', flipByteAt(9), '0123456788'],
  ['truncates', truncateAt(7), '0123456'],
  ['truncates all', truncateAt(0), ''],
  ['extends', extendWith(Buffer.from('!')), '0123456789!'],
  ['replaces', replaceBody(Buffer.from('other')), 'other'],
];
for (const [link, makeMiddle] of [
  ['h2', makeMitm],
  ['troad/1', makeTroadMitm],
] as const) {
  void t.test(`over ${link}`, async (t) => {
    let mitm!: Mitm;
    let seen: { bytes: string; trailers: Fields; fields: readonly (readonly [string, string])[] } | undefined;
    let failed: string | undefined;

    const pair = await makePair({
      gateways,
      onArrival: (arrival: LinkArrival) => {
        const { fields, path, length } = arrival.rawHead;
        receive(arrival.inflow).then(
          ({ bytes, trailers }) => {
            seen = { bytes: bytes.toString(), trailers, fields };
            const answer = Buffer.from(path.slice(1) + bytes.toString());
            const head = { status: 200, fields: [['x-answer', 'real']] } as const;
            if (length !== undefined || arrival.endsWithHead)
              arrival.answer(head, { kind: 'whole', bytes: answer });
            else arrival.answer(head, { kind: 'stream' }).end(answer, trailers);
          },
          (cause: { code: string }) => {
            failed = cause.code;
            arrival.abort(new Error('bad request'));
          },
        );
      },
      via: async (port) => (mitm = await makeMiddle(gateways, port)).port,
    });
    t.teardown(async () => {
      await pair.client.drain();
      await mitm.close();
      await pair.server.drain();
    });

    async function exchange(
      kind: 'whole' | 'stream',
      path = '/',
    ): Promise<{ bytes: string; trailers: Fields; fields: Fields }> {
      seen = failed = undefined;
      const head = requestHead(path, {
        fields: [
          ['x-a', 'b'],
          ['x-c', 'd'],
        ],
      });
      const call = await pair.client.call(
        pair.target,
        head,
        kind === 'whole' ? { kind, bytes: BODY } : { kind },
      );
      if (kind === 'stream') {
        call.outflow.write(BODY.subarray(0, 4));
        call.outflow.end(BODY.subarray(4), END);
      }
      const { head: answer, inflow } = await call.answer;
      const { bytes, trailers } = await receive(inflow);
      return { bytes: bytes.toString(), trailers, fields: answer.fields };
    }

    void t.test('passes everything on when it is not told otherwise', async (t) => {
      for (const kind of ['whole', 'stream'] as const) {
        const { bytes, trailers, fields } = await exchange(kind, '/p');
        t.equal(bytes, 'p0123456789');
        t.strictSame(trailers, kind === 'stream' ? END : []);
        t.strictSame(fields, [['x-answer', 'real']]);
        t.strictSame(seen?.fields, [
          ['x-a', 'b'],
          ['x-c', 'd'],
        ]);
      }
    });

    for (const [what, tamper, result] of body) {
      void t.test(`${what}, so that only a signature can tell`, async (t) => {
        for (const kind of ['whole', 'stream'] as const) {
          mitm.tamper = { request: tamper };
          await exchange(kind);
          t.equal(seen?.bytes, result, `${kind} request`);
          t.strictSame(seen?.trailers, kind === 'stream' ? END : []);
          mitm.tamper = { response: tamper };
          t.equal((await exchange(kind)).bytes, result, `${kind} answer`);
        }
        mitm.tamper = {};
      });
    }

    void t.test('changes fields and trailers', async (t) => {
      mitm.tamper = { request: dropField('x-a'), response: setField('x-answer', 'forged') };
      t.strictSame((await exchange('whole')).fields, [['x-answer', 'forged']]);
      t.strictSame(seen?.fields, [['x-c', 'd']]);
      mitm.tamper = { response: { trailers: () => ['t-road-end', 'length=9'] } };
      t.strictSame((await exchange('stream')).trailers, [['t-road-end', 'length=9']]);
      mitm.tamper = { response: dropTrailers };
      await t.rejects(exchange('stream'), { code: /^(message\.completion|link\.broken)$/ });
      mitm.tamper = { request: dropTrailers };
      await t.rejects(exchange('stream'));
      t.equal(failed, link === 'h2' ? 'message.completion' : 'link.broken');
      mitm.tamper = {};
    });

    void t.test('swaps two answers', async (t) => {
      mitm.tamper = { swapAnswers: true };
      const [a, b] = await Promise.all([exchange('whole', '/a'), exchange('whole', '/b')]);
      t.strictSame([a.bytes, b.bytes], ['b0123456789', 'a0123456789']);
      mitm.tamper = {};
    });
  });
}
