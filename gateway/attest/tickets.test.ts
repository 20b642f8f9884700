import { randomBytes } from 'node:crypto';
import t from 'tap';
import { Tickets } from './tickets.ts';

void t.test('strangers who come and go use up nothing', async (t) => {
  const tickets = new Tickets<string>(60_000, 10, 2);
  const issue = (connection: object): string => tickets.issue(connection, 0, randomBytes, () => 'value');
  const mine = issue({});
  for (let i = 0; i < 100; i += 1) {
    const connection = {};
    issue(connection);
    tickets.release(connection);
  }
  const one = {};
  for (let i = 0; i < 100; i += 1) issue(one);
  t.equal(tickets.take(mine, 59_999), 'value');
  t.equal(tickets.take(mine, 59_999), undefined);
  for (let i = 0; i < 8; i += 1) issue({});
  t.throws(() => issue({}), { name: 'Refused', code: 'request.overloaded' }, 'who stays has a place');
  tickets.release(one);
  t.equal(tickets.take(issue({}), 60_000), 'expired');
});
