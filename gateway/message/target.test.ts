import fc from 'fast-check';
import t from 'tap';
import { parseRoute, parseTarget } from './target.ts';

const SERVICE = '/r1/TW/GOV/B07/housing/echo';

void t.test('targets with one reading pass untouched', async (t) => {
  for (const raw of [
    SERVICE,
    `${SERVICE}/`,
    `${SERVICE}/a/b.c/~x`,
    `${SERVICE}/%E4%B8%AD%20%41`,
    `${SERVICE}/100%25`,
    `${SERVICE}?a=1;b=2&c=[x]|%2F/?`,
    '/r1/TW/GOV/B07/hous%2Fing/echo/x',
    '/listClients',
  ]) {
    const { path, query } = parseTarget(raw);
    t.equal(path + query, raw);
  }
});

void t.test('targets that two readers could understand differently are refused', async (t) => {
  for (const rest of [
    '/a/../b',
    '/a/./b',
    '/..',
    '/.',
    '/%2e%2e/x',
    '/%2E/x',
    '/..;/x',
    '//x',
    '/a//b',
    '/%2f',
    '/%2F..',
    '/%5c',
    '/\\',
    '/%252f',
    '/%252e',
    ';a=1',
    '/x;y',
    '/%3b',
    '#f',
    '/x#f',
    '/%00',
    '/%0d%0a',
    '/%7f',
    '/%c0%af',
    '/%ff',
    '/%4',
    '/%zz',
    '/ü',
    '/a b',
    '?a#b',
    '?%00',
    '?%0D%0Ax',
    '?a b',
    '?<x>',
    '/%23',
    '/%3f',
  ]) {
    t.throws(() => parseTarget(SERVICE + rest), { name: 'Denied', code: 'target.malformed' }, rest);
  }
  for (const raw of ['', '*', 'http://other/x', 'host:443', 'r1/x', '?x']) {
    t.throws(() => parseTarget(raw), { code: 'target.malformed' }, raw);
  }
});

void t.test('an X-Road path names its service and leaves the rest', async (t) => {
  t.same(parseRoute(`${SERVICE}/x/y`), { service: 'TW/GOV/B07/housing/echo', rest: '/x/y' });
  t.same(parseRoute(SERVICE), { service: 'TW/GOV/B07/housing/echo', rest: '' });
  t.equal(parseRoute('/r1/TW/GOV/B07/hous%2Fing/echo').service, 'TW/GOV/B07/hous%2Fing/echo');
  for (const path of [
    '/',
    '/r1',
    '/r1/TW/GOV/B07/housing',
    '/r2/TW/GOV/B07/housing/echo',
    '/r1/TW/GOV/B07/%68ousing/echo',
    '/r1/TW/GOV/B07/housing/%2e%2e',
    '/r1/TW/GOV//housing/echo',
    '/R1/TW/GOV/B07/housing/echo',
    '/r1/TW/GOV/B07/housing/a%252fb',
    '/r1/TW/GOV/B07/housing/%2F%00',
  ]) {
    t.throws(() => parseRoute(path), { code: 'target.not_xroad' }, path);
  }
});

void t.test('whatever is accepted is plain ASCII without dot or empty segments', async () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...Array.from('/.%2efF5cab?#;\\ \u0000ü0')) }), (text) => {
      try {
        const { path } = parseTarget(SERVICE + text);
        const decoded = decodeURIComponent(path).split('/').slice(1);
        return (
          !decoded.slice(0, -1).some((s) => s === '' || s === '.' || s === '..') && !/[\\;#\0]/.test(path)
        );
      } catch (thrown) {
        return thrown instanceof Error && thrown.name === 'Denied';
      }
    }),
    { numRuns: 2000 },
  );
});
