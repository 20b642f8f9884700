import t from 'tap';
import { addressOf, ExtraLog, type Incoming } from './extra-log.ts';

const client = (rawHeaders: readonly string[], remote = '192.0.2.7'): Incoming =>
  ({ connection: { remote }, rawHeaders }) as unknown as Incoming; // all that is looked at
const peer = {
  session: { remote: '2001:db8::7:4711' },
  rawHead: {},
  connection: 'one of the link',
} as unknown as Incoming; // the same

void t.test('where a request came from is told once', async (t) => {
  const log = new ExtraLog(client(['Host', 'user-agent', 'USER-Agent', 'probe/1', 'accept', '*/*']));
  t.same(log.origin(), { address: '192.0.2.7', userAgent: 'probe/1' });
  t.equal(log.origin(), undefined);
  t.same(log.end({ req: 1, res: 2 }, 9), { requestBytes: 1, answerBytes: 2 });
});

void t.test('a short exchange tells everything in its only record', async (t) => {
  const log = new ExtraLog(peer);
  log.requestComplete(3.4);
  const facts = { address: '2001:db8::7', requestBytes: 0, answerBytes: 0, requestMs: 3, answerMs: 6 };
  t.same(log.end({ req: 0, res: 0 }, 9.2), facts);
});

void t.test('addresses come without port; a client without a name has none; a long one is cut', async (t) => {
  t.equal(addressOf(client([], '::1')), '::1', 'a client address has no port to take off');
  t.equal(addressOf(peer), '2001:db8::7');
  t.same(new ExtraLog(client(['user-agent'])).origin(), { address: '192.0.2.7' });
  t.equal(new ExtraLog(client(['user-agent', 'x'.repeat(9000)])).origin()?.userAgent?.length, 256);
});
