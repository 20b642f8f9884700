import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { attached, lab } from '../../conformance/builders/front-lab.ts';
import { NO_FIELDS } from '../core/fields.ts';
import type { Loan } from '../core/flow.ts';
import { Lending } from '../core/lending.ts';
import type { Arrival } from '../exchange/arrival.ts';

// The memory of content is given back as soon as nobody reads it, in both directions.

const CONTENT = randomBytes(6 << 20);

/** Takes an upload some chunks behind, gives each back when it was compared, and stops now and then. */
function compare(arrival: Arrival, behind: number): void {
  const held: { chunk: Buffer; loan: Loan | undefined }[] = [];
  let [bytes, lent, same] = [0, 0, true];
  const read = (keep: number): void => {
    while (held.length > keep) {
      const next = held.shift();
      if (next === undefined) return;
      const end = bytes + next.chunk.length;
      same &&= next.chunk.equals(CONTENT.subarray(bytes, end));
      bytes = end;
      if (next.loan !== undefined) lent += 1;
      next.loan?.done();
    }
  };
  arrival.inflow.start({
    data: (chunk, loan) => {
      held.push({ chunk, loan });
      read(behind);
      arrival.inflow.pause();
      void turn().then(() => arrival.inflow.resume());
    },
    end: () => {
      read(0);
      const text = Buffer.from(JSON.stringify({ same, bytes, lent: lent > 0 }));
      arrival.answer({ status: 200, fields: NO_FIELDS }, { kind: 'whole', bytes: text }).attach(attached);
    },
    error: () => undefined,
  });
}

void t.test('every byte of an upload is there, however late it is read', async (t) => {
  for (const behind of [0, 3, 50]) {
    const { target } = await lab(t, (arrival) => compare(arrival, behind));
    for (const headers of [{ 'content-length': CONTENT.length }, { 'transfer-encoding': 'chunked' }]) {
      const sent = request({ ...target, method: 'POST', headers, agent: false });
      for (let at = 0, size = 1; at < CONTENT.length; at += size, size = ((size * 7) % 150_001) + 1) {
        if (!sent.write(CONTENT.subarray(at, at + size))) await once(sent, 'drain');
      }
      sent.end();
      const [answer] = (await once(sent, 'response')) as [AsyncIterable<Buffer>]; // as node:http documents
      const parts: Buffer[] = [];
      for await (const part of answer) parts.push(part);
      t.same(
        JSON.parse(Buffer.concat(parts).toString()),
        { same: true, bytes: CONTENT.length, lent: true },
        `${Object.keys(headers).join()}, ${behind} behind`,
      );
    }
  }
});

void t.test('the memory of an answer comes back once the system has it, to a slow reader too', async (t) => {
  for (const counted of [true, false]) {
    const lending = new Lending(16 << 10, 8);
    const buffers = new Set<Buffer>();
    const { target } = await lab(t, (arrival) => {
      const out = arrival.answer(
        { status: 200, fields: NO_FIELDS },
        counted ? { kind: 'stream', length: CONTENT.length } : { kind: 'stream' },
      );
      let at = 0;
      const push = (): void => {
        while (at < CONTENT.length) {
          const lent = lending.take();
          buffers.add(lent.bytes);
          const length = CONTENT.copy(lent.bytes, 0, at);
          at += length;
          if (!out.write(lent.bytes.subarray(0, length), lent)) return;
        }
        out.end(undefined, NO_FIELDS);
      };
      out.attach({ drain: push, error: () => undefined, finish: () => undefined });
      push();
    });
    const sent = request({ ...target, agent: false }).end();
    const [answer] = (await once(sent, 'response')) as [AsyncIterable<Buffer>]; // as node:http documents
    let [bytes, same] = [0, true];
    for await (const part of answer) {
      same &&= part.equals(CONTENT.subarray(bytes, bytes + part.length));
      bytes += part.length;
      for (let i = 0; i < 3; i += 1) await turn();
    }
    t.same([same, bytes], [true, CONTENT.length], counted ? 'counted' : 'chunked');
    t.ok(buffers.size < 200, `${buffers.size} buffers for ${CONTENT.length >> 14} pieces`);
  }
});
