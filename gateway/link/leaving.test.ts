import t, { type Test } from 'tap';
import {
  type LinkPair,
  makeGateways,
  makePair,
  type PairOptions,
  receive,
  requestHead,
} from '../../conformance/builders/link-pair.ts';
import { Unavailable } from '../core/errors.ts';
import type { LinkArrival, LinkCall } from './link.ts';

/** Clients that leave at once must not look like a rapid reset (CVE-2023-44487) to the provider's gateway. */

const gateways = await makeGateways();
const NOTHING = { kind: 'whole', bytes: Buffer.alloc(0) } as const;
const HELLO = { kind: 'whole', bytes: Buffer.from('hello') } as const;
const TRAILERS = [['t-road-end', 'length=4']] as const;
const left = new Unavailable('response.receiver_gone', 'the client left');
const tick = (ms = 2): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await tick();
};

async function pairOf(t: Test, options: Partial<PairOptions>): Promise<LinkPair> {
  const pair = await makePair({ gateways, onArrival: () => undefined, ...options });
  t.teardown(() => pair.close());
  return pair;
}

const isBroken = (pair: LinkPair): boolean => pair.events.some(({ kind }) => kind === 'session.broken');

for (const protocol of ['troad/1', 'h2'] as const) {
  const ask = (pair: LinkPair, path: string, count: number): Promise<LinkCall[]> =>
    Promise.all(
      Array.from({ length: count }, () => pair.client.call(pair.target, requestHead(path), NOTHING)),
    );

  void t.test(`${protocol}: many clients that leave at once take nobody along`, async (t) => {
    const held: LinkArrival[] = [];
    const gone = new Set<LinkArrival>();
    let bystander: LinkArrival | undefined;
    const pair = await pairOf(t, {
      client: { protocols: [protocol], limits: { sessionsPerPeer: 1, drainMs: 100 } },
      server: { limits: { drainMs: 100 } },
      onArrival: (arrival) => {
        if (arrival.rawHead.path === '/patient') bystander = arrival;
        else {
          held.push(arrival);
          arrival.onGone((cause) => {
            gone.add(arrival);
            arrival.abort(cause);
          });
        }
      },
    });
    const patient = await pair.client.call(pair.target, requestHead('/patient'), NOTHING);
    for (let round = 0; round < 4; round++) {
      const calls = await ask(pair, '/impatient', 250);
      await until(() => held.length === 250 || isBroken(pair));
      for (const call of calls) call.abort(left);
      const causes = await Promise.all(calls.map(({ answer }) => answer.catch((cause: unknown) => cause)));
      t.ok(
        causes.every((cause) => cause === left),
        'each knows why',
      );
      if (round === 0) await until(() => gone.size > 0);
      for (const arrival of held.splice(0)) {
        if (!gone.has(arrival)) arrival.answer({ status: 200, fields: [] }, HELLO);
      }
    }
    t.ok(gone.size > 0, 'the provider heard of those who left');
    bystander?.answer({ status: 200, fields: [] }, HELLO);
    const body = await receive((await patient.answer).inflow);
    t.equal(String(body.bytes), 'hello', 'who stayed is answered');
    t.equal(isBroken(pair), false, 'on the same session');
    t.equal(pair.server.sessions, 1);
  });

  void t.test(`${protocol}: who cannot be reset yet runs out, unread, or is reset in its turn`, async (t) => {
    const held: LinkArrival[] = [];
    let gone = 0;
    const pair = await pairOf(t, {
      client: {
        protocols: [protocol],
        limits: { sessionsPerPeer: 1, cancelsPerSecond: 30, drainMs: 100 },
      },
      server: { limits: { drainMs: 100 } },
      onArrival: (arrival) => {
        held.push(arrival);
        arrival.onGone((cause) => {
          gone++;
          arrival.abort(cause);
        });
      },
    });
    for (const how of ['answered', 'streamed', 'silent'] as const) {
      const calls = await ask(pair, '/', 60);
      await until(() => held.length === 60);
      for (const call of calls) call.abort(left);
      gone = 0;
      // All 60 leave their room in the session, whatever the provider does.
      if (how === 'answered') {
        for (const arrival of held) arrival.answer({ status: 200, fields: [] }, HELLO);
      } else if (how === 'streamed') {
        for (const arrival of held) {
          // As much as there is credit for, and no end of it.
          const out = arrival.answer({ status: 200, fields: [] }, { kind: 'stream' });
          out.attach({
            drain: () => undefined,
            error: (cause) => arrival.abort(cause),
            finish: () => undefined,
          });
          out.write(Buffer.alloc(200_000));
        }
      }
      held.length = 0;
      const fresh = ask(pair, '/', 256);
      await until(() => held.length === 256);
      t.ok(how === 'answered' ? gone <= 60 : gone === 60, `${how}: ${gone} of 60 were reset`);
      for (const arrival of held.splice(0)) arrival.answer({ status: 200, fields: [] }, HELLO);
      for (const call of await fresh) await receive((await call.answer).inflow);
    }
    t.equal(isBroken(pair), false);
  });

  void t.test(
    `${protocol}: half an upload never becomes a whole one while it waits for its reset`,
    async (t) => {
      const outcomes: string[] = [];
      const pair = await pairOf(t, {
        client: {
          protocols: [protocol],
          limits: { sessionsPerPeer: 1, cancelsPerSecond: 4, drainMs: 100 },
        },
        server: { limits: { drainMs: 100 } },
        onArrival: (arrival) => {
          receive(arrival.inflow).then(
            () => outcomes.push('whole'),
            (cause: Error) => {
              outcomes.push('broken');
              arrival.abort(cause);
            },
          );
        },
      });
      const calls: LinkCall[] = [];
      for (let i = 0; i < 12; i++) {
        const call = await pair.client.call(pair.target, requestHead('/'), { kind: 'stream' });
        call.outflow.attach({ drain: () => undefined, error: () => undefined, finish: () => undefined });
        call.outflow.write(Buffer.alloc(300_000)); // more than there is credit for
        calls.push(call);
      }
      for (const [i, call] of calls.entries()) {
        // Some were handed over to their end: what is not on its way yet must not follow.
        if (i % 2 === 0) call.outflow.end(Buffer.from('abcd'), TRAILERS);
        call.abort(left);
      }
      await until(() => outcomes.length === 12);
      t.strictSame(outcomes, Array<string>(12).fill('broken'));
      t.equal(isBroken(pair), false);
    },
  );

  void t.test(
    `${protocol}: a session ends when it was idle for long, and not while it is used`,
    async (t) => {
      const idleMs = 300;
      const held: LinkArrival[] = [];
      const pair = await pairOf(t, {
        client: { protocols: [protocol] },
        server: { limits: { idleMs } },
        onArrival: (arrival) => void held.push(arrival),
      });
      const closed = (): boolean => pair.events.some(({ kind }) => kind === 'session.closed');
      const [call] = await ask(pair, '/slow', 1);
      await until(() => held.length > 0);
      await tick(2 * idleMs); // what was wound up before this has run out by then
      t.notOk(closed(), 'not while something runs');
      held[0]?.answer({ status: 200, fields: [] }, HELLO);
      const answer = await call?.answer;
      t.equal(answer && String((await receive(answer.inflow)).bytes), 'hello');
      await until(closed);
      t.notOk(isBroken(pair), 'in order');
    },
  );
}
