import t from 'tap';
import { readExtra, renderExtra } from './extra.ts';

const read = (meta: unknown) => readExtra(Buffer.from(JSON.stringify(meta)));

void t.test('origin, sizes and times are read and told', async (t) => {
  const extra = {
    address: '192.0.2.7',
    userAgent: 'probe/1',
    requestBytes: 10,
    answerBytes: 20,
    requestMs: 3,
    answerMs: 4,
  };
  t.same(read({ path: '/x', base: 'b', extra }), extra);
  t.same(renderExtra(extra), [
    'from 192.0.2.7, user agent probe/1  來源位址與用戶端程式',
    'request 10 bytes in 3 ms, answer 20 bytes in 4 ms  內容大小與時間',
  ]);
  const { address } = extra;
  t.same(
    renderExtra({ address }),
    ['from 192.0.2.7  來源位址與用戶端程式'],
    'a peer gateway has no user agent',
  );
  t.same(
    renderExtra({ requestBytes: 10, answerBytes: 0 }),
    ['request 10 bytes, answer 0 bytes  內容大小與時間'],
    'what was cut off in the request has no times',
  );
});

void t.test('what is none is left out, and stops nobody', async (t) => {
  for (const meta of [null, 1, 'x', [], {}, { extra: null }, { extra: [] }, { extra: 'address' }])
    t.equal(read(meta), undefined, JSON.stringify(meta));
  t.equal(readExtra(Buffer.from('{"extra"')), undefined, 'no JSON');
  for (const odd of [null, 1, {}, ['a'], true])
    t.equal(read({ extra: { address: odd, userAgent: odd } }), undefined, JSON.stringify(odd));
  for (const odd of [null, '1', {}, [1], true, 1.5, 1e300]) {
    t.same(read({ extra: { requestBytes: odd, answerMs: odd, answerBytes: 1 } }), { answerBytes: 1 });
  }
  t.same(read({ extra: { address: 'a', other: 'b' } }), { address: 'a' }, 'unknown members are not told');
});

void t.test('what a client wrote does not reach the terminal as it is', async (t) => {
  const [line = ''] = renderExtra({ address: 'a\u001b[2J', userAgent: `b\u202e${'c'.repeat(300)}` });
  t.notMatch(line, /[\u001b\u202e]/);
  t.ok(line.length < 400);
});
