import t from 'tap';
import { Denied, Unavailable } from '../core/errors.ts';
import { isRefusalCode, REFUSALS, xroadType } from '../core/refusals.ts';
import { answerFor, refusalAnswer, type Reader } from './respond.ts';

const READER: Reader = { accept: undefined, acceptLanguage: undefined, spelling: 'camel' };
const ID = '0191-id';

void t.test('a refusal is exactly type, message and detail, with the error header', async (t) => {
  const { head, bytes } = refusalAnswer(new Denied('policy.denied', 'secret detail'), ID, READER);
  t.equal(head.status, 403);
  t.same(head.fields, [
    ['content-type', 'application/json'],
    ['x-road-error', 'Server.ServerProxy.AccessDenied'],
  ]);
  t.same(JSON.parse(bytes.toString()), {
    type: 'Server.ServerProxy.AccessDenied',
    message: REFUSALS['policy.denied'].en,
    detail: ID,
  });
  t.notMatch(bytes.toString(), 'secret');
});

void t.test('XML when Accept asks for it, RFC 9457 with our own code for those who know it', async (t) => {
  for (const accept of ['text/xml', 'application/xml;q=0.9, x/y', 'text/*']) {
    const { head, bytes } = answerFor('service.unknown', '<&>', { ...READER, accept });
    t.same(head.fields[0], ['content-type', 'text/xml']);
    t.match(
      bytes.toString(),
      /^<\?xml .*\n<error><type>Server.ServerProxy.UnknownService<\/type><message>.*<\/message><detail>&lt;&amp;&gt;<\/detail><\/error>\n$/,
    );
  }
  const { bytes } = answerFor('service.unknown', ID, { ...READER, accept: 'application/problem+json' });
  t.match(JSON.parse(bytes.toString()), { code: 'service.unknown', status: 404, detail: ID });
});

void t.test('Chinese for those who read it first', async (t) => {
  const text = (acceptLanguage: string): string =>
    answerFor('policy.denied', ID, { ...READER, acceptLanguage }).bytes.toString();
  t.match(text('zh-TW,en;q=0.5'), REFUSALS['policy.denied'].zh);
  t.match(text('en, zh-TW'), REFUSALS['policy.denied'].en);
  t.match(text('de'), REFUSALS['policy.denied'].en);
});

void t.test('both spellings of X-Road', async (t) => {
  t.equal(xroadType('policy.denied', 'snake'), 'server.serverproxy.access_denied');
  t.equal(xroadType('target.malformed', 'snake'), 'client.bad_request');
  t.equal(xroadType('registry.expired', 'snake'), 'server.clientproxy.global_conf_outdated');
  t.equal(xroadType('client.certificate_missing', 'snake'), 'server.clientproxy.ssl_authentication_failed');
});

void t.test('what nobody expected is ours: 500, nothing told', async (t) => {
  const { head, bytes } = refusalAnswer(new TypeError('x is not a function'), ID, READER);
  t.equal(head.status, 500);
  t.notMatch(bytes.toString(), 'function');
  t.equal(refusalAnswer(new Unavailable('service.timeout', ''), ID, READER).head.status, 504);
});

void t.test(
  'every refusal says in two languages what to do, and whose fault it is fits its status',
  async (t) => {
    for (const [code, row] of Object.entries(REFUSALS)) {
      t.ok(isRefusalCode(code) && row.en.length > 10 && /[\u4e00-\u9fff]/.test(row.zh), code);
      const ours = row.status >= 500 && row.status !== 505; // HTTP Version Not Supported is the requester's
      t.equal(ours, row.fault !== 'requester', `${code}: ${row.status} ${row.fault}`);
    }
  },
);
