import { createHash } from 'node:crypto';
import t from 'tap';
import { RequestHash } from './request-hash.ts';

const sha512 = (...parts: (string | Buffer)[]): Buffer => {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

void t.test('the recipe of X-Road, head only and with a body', async (t) => {
  const raw = [
    'Host',
    'x',
    'X-Road-Client',
    'TW/GOV/A11/welfare',
    'Accept',
    '*/*',
    'X-Road-Request-Hash',
    'mine',
  ];
  const made = [
    ['x-road-id', 'TW-1'],
    ['x-road-request-id', 'r'],
  ] as const;
  const head =
    'GET\r\n/r1/x?q=1\r\nX-Road-Client:TW/GOV/A11/welfare\r\nAccept:*/*\r\nx-road-id:TW-1\r\nx-road-request-id:r\r\n';
  t.equal(new RequestHash('GET', '/r1/x?q=1', raw, made).value(), sha512(head).toString('base64'));
  const withBody = new RequestHash('GET', '/r1/x?q=1', raw, made);
  withBody.update(Buffer.alloc(0));
  withBody.update(Buffer.from('ab'));
  withBody.update(Buffer.from('c'));
  t.equal(withBody.value(), sha512(sha512(head), sha512('abc')).toString('base64'));
});
