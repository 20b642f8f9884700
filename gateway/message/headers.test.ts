import t, { type Test } from 'tap';
import { clientFields, linkFields, serviceFields } from './headers.ts';

const refused = (t: Pick<Test, 'throws'>, raw: string[], code: string): void => {
  t.throws(() => clientFields(raw), { name: 'Denied', code }, raw.join(' '));
};

void t.test('what may travel is canonical: lower-case names, once each, lists joined', async (t) => {
  t.same(
    clientFields([
      'X-Road-Client',
      'a',
      'Accept',
      'x',
      'accept',
      'y',
      'Authorization',
      'Bearer z',
      'X-Empty',
      '',
    ]),
    [
      ['x-road-client', 'a'],
      ['accept', 'x, y'],
      ['authorization', 'Bearer z'],
      ['x-empty', ''],
    ],
  );
});

void t.test('fields of one hop, and claims about addresses, stay behind', async (t) => {
  const raw = [
    'Host',
    'x',
    'Connection',
    'keep-alive, close',
    'Keep-Alive',
    '1',
    'TE',
    'trailers',
    'Upgrade',
    'x',
    'User-Agent',
    'curl',
    'Expect',
    '100-continue',
    'Content-Length',
    '3',
    'X-Forwarded-For',
    '1.2.3.4',
    'Forwarded',
    'for=x',
    'X-Original-URL',
    '/x',
    'X-Real-IP',
    '1',
    'X-Road-Request-Id',
    'mine',
    'X-Road-Request-Hash',
    'mine',
  ];
  t.same(clientFields(raw), []);
});

void t.test('header lines that could be read two ways are refused', async (t) => {
  refused(t, ['X-Road-Client', 'a', 'x-road-client', 'b'], 'header.duplicate');
  refused(t, ['X-Road-Id', '1', 'X-Road-ID', '1'], 'header.duplicate');
  refused(t, ['Authorization', 'a', 'authorization', 'b'], 'header.duplicate');
  refused(t, ['Content-Type', 'a', 'content-type', 'a'], 'header.duplicate');
  refused(t, ['Host', 'a', 'HOST', 'a'], 'header.duplicate');
  refused(t, ['T-Road-Exchange', 'x'], 'header.reserved');
  refused(t, ['T_Road_Exchange', 'x'], 'header.reserved');
  refused(t, ['X_Road_Client', 'x'], 'header.reserved');
  refused(t, ['T_Road_Assertion', 'x'], 'header.reserved');
  refused(t, ['Signature-Input', 'x'], 'header.reserved');
  refused(t, ['Content-Digest', 'x'], 'header.reserved');
  refused(t, ['Connection', 'close, authorization'], 'header.hop_by_hop');
  refused(t, ['Connection', 'x-road-client'], 'header.hop_by_hop');
  refused(t, ['X-A', 'ü'], 'header.malformed');
  refused(t, ['X-A', 'a\u0000b'], 'header.malformed');
  refused(t, ['X A', 'b'], 'header.malformed');
  refused(t, ['', 'b'], 'header.malformed');
  refused(
    t,
    Array.from({ length: 202 }, (_, i) => `x${i}`),
    'framing.headers_too_large',
  );
  refused(t, ['x-long', 'a'.repeat(16 * 1024)], 'framing.headers_too_large');
});

void t.test('white space that is none in a field is refused, not trimmed away', async (t) => {
  const malformed = { code: 'header.malformed' };
  for (const value of ['\xa0a', 'a\xa0', '\xa0', 'a\x0b', '\x0ca', '\ufeffa', 'a\n', '\r\na']) {
    const shown = JSON.stringify(value);
    t.throws(() => clientFields(['x-a', value]), malformed, shown);
    t.throws(() => serviceFields(['x-a', value]), malformed, shown);
    t.throws(() => linkFields([['x-a', value]]), malformed, shown);
  }
  t.same(clientFields(['x-a', ' \ta b\t']), [['x-a', 'a b']]);
});

void t.test('names of object machinery are data', async (t) => {
  t.same(clientFields(['__proto__', 'x', 'constructor', 'y']), [
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ]);
});

void t.test('on the link nothing is dropped silently', async (t) => {
  t.same(
    linkFields([
      ['x-a', '1'],
      ['content-length', '3'],
    ]),
    [['x-a', '1']],
  );
  t.throws(() => linkFields([['connection', 'close']]), { code: 'header.malformed' });
  t.throws(() => linkFields([['x-forwarded-for', '1']]), { code: 'header.malformed' });
  t.throws(
    () =>
      linkFields([
        ['signature', 'a'],
        ['signature', 'b'],
      ]),
    { code: 'header.duplicate' },
  );
});

void t.test('a peer cannot smuggle a twin of a field that its receiver trusts', async (t) => {
  // CGI, WSGI and PHP read `t_road_user_subject` and `t-road-user-subject` as one variable.
  for (const name of [
    't_road_user_subject',
    't-road_consumer',
    'x_road_client',
    'content_digest',
    'x-road_error',
  ])
    t.throws(() => linkFields([[name, 'x']]), { code: 'header.reserved' }, name);
  t.same(linkFields([['x_own', '1']]), [['x_own', '1']], 'a service may have names of its own');
});

void t.test('a field that is left behind has no twin that goes on', async (t) => {
  for (const name of [
    'X_Forwarded_For',
    'x-forwarded_host',
    'X_Real-IP',
    'X_HTTP_Method_Override',
    'Transfer_Encoding',
    'X-Forwarded-User',
    'X_Forwarded-Ssl',
  ]) {
    t.same(clientFields([name, 'x', 'X-A', '1']), [['x-a', '1']], name);
    t.same(serviceFields([name, 'x', 'X-A', '1']), [['x-a', '1']], name);
    t.throws(() => linkFields([[name.toLowerCase(), 'x']]), { code: 'header.malformed' }, name);
  }
});

void t.test('a client cannot name the service and the request again', async (t) => {
  t.same(
    clientFields(['X-Road-Service', 'TW/GOV/B07/housing/other', 'X-Road-Request-Id', 'mine', 'X-A', '1']),
    [['x-a', '1']],
  );
});

void t.test('a service cannot set what only gateways may say', async (t) => {
  const raw = [
    'T_Road_User_Subject',
    'forged',
    'X_Road_Id',
    'forged',
    'Content-Type',
    'x',
    'Set-Cookie',
    'a=1',
    'X-Road-Id',
    'forged',
    'T-Road-Agreement',
    'forged',
    'Signature',
    'x',
    'Server',
    'y',
    'Transfer-Encoding',
    'chunked',
    'X-Empty',
    '',
  ];
  t.same(serviceFields(raw), [['content-type', 'x']]);
});
