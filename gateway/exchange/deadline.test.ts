import t from 'tap';
import { Unavailable } from '../core/errors.ts';
import type { LinkAnswer, LinkCall } from '../link/link.ts';
import { answerOf } from './deadline.ts';

/** A call to a peer that answers what it is told to, or nothing. */
function calling(answer: Promise<LinkAnswer>) {
  const aborted: string[] = [];
  const call: Pick<LinkCall, 'answer' | 'abort'> = {
    answer,
    abort: ({ message }) => void aborted.push(message),
  };
  return { call, aborted };
}
const late = (): Unavailable => new Unavailable('link.timeout', 'too late');

void t.test('a peer that never answers keeps no stream open', async (t) => {
  const { call, aborted } = calling(new Promise(() => undefined));
  await t.rejects(answerOf(call, 1, late), { code: 'link.timeout' });
  t.same(aborted, ['link.timeout: too late']);
});

void t.test('one that answers in time is not broken off', async (t) => {
  const answer = {} as LinkAnswer; // passed on, never looked at
  const { call, aborted } = calling(Promise.resolve(answer));
  t.equal(await answerOf(call, 60_000, late), answer);
  t.same(aborted, []);
});
