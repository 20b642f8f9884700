import t from 'tap';
import { withoutPort } from './address.ts';

void t.test('the port is taken off addresses of both families', async (t) => {
  t.equal(withoutPort('192.0.2.1:443'), '192.0.2.1');
  t.equal(withoutPort('2001:db8::1:443'), '2001:db8::1');
  t.equal(withoutPort('?'), '?', 'where there is none, nothing is lost');
});
