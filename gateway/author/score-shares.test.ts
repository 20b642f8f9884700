import t from 'tap';
import { scoreShares } from './score-shares.ts';

const answer = (value: unknown): string => JSON.stringify({ result: [{ expressions: [{ value }] }] });
const levels = { device: 0, hour: 4, identity: 3 };
const weights = { device: 3, hour: 1, identity: 10 };

void t.test('the score is the sum of levels times weights, the greatest share first', async (t) => {
  t.same(scoreShares(answer({ levels, weights }), 34), [
    { factor: 'identity', level: 3, weight: 10 },
    { factor: 'hour', level: 4, weight: 1 },
    { factor: 'device', level: 0, weight: 3 },
  ]);
});

void t.test('what does not add up is not told', async (t) => {
  t.equal(scoreShares(answer({ levels, weights }), 35), undefined, 'another score');
  t.equal(scoreShares(answer({ levels, weights }), undefined), undefined, 'no decision');
  t.equal(scoreShares(answer({ levels, weights: { identity: 10 } }), 34), undefined, 'a weight is missing');
  t.equal(scoreShares(answer({ levels: { ...levels, hour: '4' }, weights }), 34), undefined, 'no number');
  for (const other of ['{}', '[]', 'null', '{"result":[]}', answer(null), answer({ levels })])
    t.equal(scoreShares(other, 0), undefined, other);
});
