import t from 'tap';
import { exchangeRecord, readCore } from './records.ts';

void t.test('a record nested without end is malformed, and ends no audit', (t) => {
  const nested = (levels: number): Buffer =>
    Buffer.from(`{"v":1,"k":"mark","at":1,"x":${'['.repeat(levels)}${']'.repeat(levels)}}`);
  for (const levels of [1, 30, 31]) t.match(readCore(nested(levels)), { v: 1 });
  for (const levels of [32, 33, 5_000, 100_000])
    t.throws(() => readCore(nested(levels)), { name: 'MalformedBytes', message: /nested deeper than 32/ });
  // Brackets that nest nothing are no depth, and hide none.
  for (const [beside, text] of [
    ['[]', `[${'[],{},'.repeat(40)}0]`],
    ['a text', JSON.stringify('[{"'.repeat(40))],
  ] as const) {
    const record = (x: string): Buffer => Buffer.from(`{"v":1,"k":"mark","at":1,"x":${x},"y":${text}}`);
    const deep = (levels: number): Buffer => record('['.repeat(levels) + ']'.repeat(levels));
    for (const levels of [1, 31])
      t.equal(JSON.stringify(readCore(deep(levels))), String(deep(levels)), beside);
    t.throws(() => readCore(deep(32)), { name: 'MalformedBytes', message: /nested deeper than 32/ }, beside);
  }
  t.end();
});

void t.test('a record has one spelling, in whatever characters', (t) => {
  const record = (xid: string): Buffer => Buffer.from(`{"v":1,"k":"mark","at":1,"xid":${xid}}`);
  for (const xid of ['"臺北"', '"\\u001f"', '"\\ud800"', '"\u2028"', '"\ufeff"', '"😀"'])
    t.equal(JSON.stringify(readCore(record(xid))), String(record(xid)));
  for (const xid of ['"\\u81fa"', '"\\u001F"', '"\\uD800"', '"\\ud83d\\ude00"', '"\\/"', '-0', '1e3'])
    t.throws(() => readCore(record(xid)), { name: 'MalformedBytes', message: /another spelling/ }, xid);
  const good = record('"ab"');
  for (const bytes of [Buffer.of(0xff), Buffer.of(0xc1, 0x81), Buffer.of(0xed, 0xa0, 0x80)]) {
    const bad = Buffer.concat([good.subarray(0, -4), bytes, good.subarray(-2)]);
    t.throws(() => readCore(bad), { name: 'MalformedBytes', message: /not JSON/ });
  }
  t.throws(() => readCore(Buffer.concat([Buffer.from('\ufeff'), good])), { name: 'MalformedBytes' });
  t.equal(JSON.stringify(readCore(good)), String(good), 'and what was refused before changes nothing');
  t.end();
});

void t.test('a record of an exchange has an id in its one spelling', (t) => {
  const record = (x: unknown) => ({ v: 1, k: 'deny', at: 1, x, role: 'c', me: 'a', out: 'ok' });
  const read = (x: unknown) => exchangeRecord(readCore(Buffer.from(JSON.stringify(record(x)))));
  t.match(read('AAAAAAAAAAAAAAAAAAAAAA'), { k: 'deny' });
  for (const x of [
    'AAAAAAAAAAAAAAAAAAAAAB',
    'AAAAAAAAAAAAAAAAAAAAA',
    'AAAAAAAAAAAAAAAAAAAAAA\n',
    '',
    1,
    null,
  ])
    t.throws(
      () => read(x),
      { name: 'MalformedBytes', message: 'record of an exchange with a bad x' },
      String(x),
    );
  t.end();
});
