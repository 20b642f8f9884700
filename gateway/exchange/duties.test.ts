import t from 'tap';
import { Duties } from './duties.ts';

void t.test('without obligations nothing is bound', (t) => {
  const duties = new Duties('POST', {});
  duties.request.require(Number.MAX_SAFE_INTEGER);
  duties.response.require(undefined);
  t.same(duties.inForce, {});
  t.end();
});

void t.test('read_only: the methods that are safe, and no other', (t) => {
  for (const method of ['GET', 'HEAD', 'OPTIONS']) t.ok(new Duties(method, { read_only: true }), method);
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'get'])
    t.throws(() => new Duties(method, { read_only: true }), { code: 'policy.read_only' }, method);
  t.end();
});

void t.test('bytes: the bound itself is allowed, one more is not', (t) => {
  const { request, response } = new Duties('PUT', { max_request_bytes: 10, max_response_bytes: 0 });
  request.require(10);
  request.require(undefined);
  response.require(0);
  t.throws(() => request.require(11), {
    code: 'policy.request_too_large',
    message: /11 of at most 10 bytes/,
  });
  t.throws(() => response.require(1), { code: 'policy.response_too_large' });
  t.end();
});

void t.test('a later decision binds otherwise', (t) => {
  const duties = new Duties('PUT', { max_request_bytes: 10 });
  const { request } = duties;
  duties.renew({ max_request_bytes: 5 });
  t.throws(() => request.require(6), { code: 'policy.request_too_large' });
  duties.renew({});
  request.require(6);
  t.throws(() => duties.renew({ read_only: true }), { code: 'policy.read_only' });
  t.end();
});
