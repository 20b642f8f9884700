import { createHash, verify as checkSignature } from 'node:crypto';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { mkdtempSync } from 'node:fs';
import t from 'tap';
import { ExchangePair, trustDocument } from '../../conformance/builders/exchanges.ts';
import {
  CONSUMER,
  draft,
  exchangeId,
  HandClock,
  keyFrom,
  logOptions,
  originOf,
  PROVIDER,
} from '../../conformance/builders/log.ts';
import { toUuid } from '../core/ids.ts';
import { openLog, type EvidenceLog, type OpenLogOptions } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import type { RecordDraft } from '../evidence/record.ts';
import { openCheckpoint } from '../tlog/checkpoint.ts';
import { parseVerifierKey } from '../tlog/note.ts';
import { findEpochs } from './folder.ts';
import { forEachRecord, readCore } from './records.ts';
import { renderShow } from './render-show.ts';
import { findingsOf, renderAudit, type AuditReport, type Finding } from './report.ts';
import { showExchange } from './show.ts';
import { parseTrustFile } from './trust-file.ts';
import { auditLogs } from './verify.ts';

const storage = nodeStorage();
const trust = parseTrustFile(JSON.stringify(trustDocument()));
const verify = (logs: string[], more: { trust?: typeof trust; deep?: boolean } = {}): Promise<AuditReport> =>
  auditLogs({ storage, logs, trust, deep: true, ...more });

const root = mkdtempSync(`${tmpdir()}/troad-audit-`);
t.teardown(() => rm(root, { recursive: true, force: true }));
let copies = 0;

/** A copy of a log for the attacker. */
async function copyOf(dir: string): Promise<string> {
  const copy = `${root}/copy-${(copies += 1)}`;
  await cp(dir, copy, { recursive: true });
  return copy;
}

const clock = new HandClock();
const options = (gateway: string, more: Partial<OpenLogOptions> = {}): OpenLogOptions =>
  logOptions(`${root}/${gateway}`, { origin: originOf(gateway), clock, ...more });

/** Two gateways' logs with everything that happens in a good week. */
async function goodLogs(): Promise<[string, string]> {
  let consumer = await openLog(options(CONSUMER));
  const provider = await openLog(options(PROVIDER));
  const carry = async (pair: ExchangePair): Promise<void> => {
    clock.at += 1000;
    await pair.write(consumer, 'c', ['req.final']);
    await pair.write(provider, 'p');
    await pair.write(consumer, 'c', ['res.final']);
  };
  const sign = (n: number): Promise<ExchangePair> => ExchangePair.sign(n, clock, n % 10 === 9 ? 404 : 200);
  for (let n = 0; n < 20; n += 1) await carry(await sign(n));
  // Under one signature for all their requests, and one for all their answers.
  for (const pair of await Promise.all(Array.from({ length: 20 }, (_, i) => sign(20 + i)))) await carry(pair);
  await consumer.append(draft('deny', 100, { at: clock.now(), out: 'policy.denied' }));
  await show(consumer, provider);
  await consumer.close();
  clock.at += 20_000;
  consumer = await openLog(options(CONSUMER));
  await carry(await ExchangePair.sign(40, clock));
  // The provider refuses: a deny record there, a signed answer here.
  const refused = await ExchangePair.sign(41, clock, 403);
  await refused.write(consumer, 'c', ['req.final']);
  await provider.append({ ...refused.record('req.final', 'p'), k: 'deny', out: 'policy.denied' });
  await refused.write(consumer, 'c', ['res.final']);
  // The client goes away while the answer is on its way.
  const gone = await ExchangePair.sign(42, clock);
  await gone.write(consumer, 'c', ['req.final']);
  await gone.write(provider, 'p');
  await consumer.append({ ...gone.record('req.final', 'c'), k: 'abort', out: 'response.receiver_gone' });
  await show(consumer, provider);
  clock.at += 1000;
  await provider.close();
  await consumer.close();
  return [`${root}/${CONSUMER}`, `${root}/${PROVIDER}`];
}

/** Each shows the other its newest head. */
async function show(a: EvidenceLog, b: EvidenceLog): Promise<void> {
  for (const log of [a, b]) {
    const signed = (): bigint => openCheckpoint(log.checkpoint(), [parseVerifierKey(log.vkey)]).size;
    while (signed() < log.size) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await b.observePeer({ peer: CONSUMER, note: a.checkpoint(), vkeys: [a.vkey] });
  await a.observePeer({ peer: PROVIDER, note: b.checkpoint(), vkeys: [b.vkey] });
}

const [consumerDir, providerDir] = await goodLogs();

/** One small log on its own. */
async function smallLog(): Promise<string> {
  const dir = `${root}/small-${(copies += 1)}`;
  const log = await openLog(logOptions(dir, { clock }));
  await (await ExchangePair.sign(1, clock)).write(log, 'c');
  await log.append(draft('deny', 2, { at: clock.now(), out: 'policy.denied' }));
  await log.close();
  return dir;
}

void t.test('two good logs are good, and the report counts what was checked', async (t) => {
  const report = await verify([consumerDir, providerDir]);
  t.same(findingsOf(report), []);
  t.equal(report.result, 'good');
  const steps = Object.fromEntries(report.steps.map((step) => [step.name, step]));
  t.match(steps['both ends of each exchange agree'], { status: 'pass', checked: 44, notCheckable: 0 });
  for (const log of report.logs) {
    const byName = Object.fromEntries(log.steps.map((step) => [step.name, step]));
    t.match(byName['every record is as it was written'], {
      status: 'pass',
      checked: Number(log.size),
      findings: [],
    });
    t.match(byName['signed heads fit the records'], { status: 'pass' });
    t.match(byName['heads that others have seen fit the records'], { status: 'pass', checked: 2 });
    t.match(byName['heads of peers are signed by the peers'], { status: 'pass', checked: 2 });
    t.ok(Number(byName['message signatures verify']?.checked) > 80);
  }
  t.match(findingsOf(report, 'note'), [{ kind: 'one-sided', exchange: exchangeId(42) }]);
  t.match(renderAudit(report), /GOOD/);
});

void t.test('without keys and without the other log, less can be said, and the report says so', async (t) => {
  const copy = await copyOf(consumerDir);
  await rm(`${copy}/keys`, { recursive: true });
  const report = await verify([copy]);
  t.equal(report.result, 'good');
  const byName = Object.fromEntries(report.logs[0]?.steps.map((step) => [step.name, step]) ?? []);
  t.match(byName['message signatures verify'], { status: 'not checkable', checked: 0, notCheckable: 85 });
  t.match(byName['every record is as it was written'], { status: 'pass' });
  t.match(report.steps[1], { notCheckable: 42 });
});

void t.test(
  'L01: any one bit of a small log, of its heads or of its keys: detected, first bad entry named',
  async (t) => {
    const dir = await smallLog();
    const files = ['head', 'epoch-1/checkpoint', 'epoch-1/checkpoints', 'epoch-1/hashes'];
    files.push(...(await readdir(`${dir}/keys`)).map((name) => `keys/${name}`));
    const segments = (await readdir(`${dir}/epoch-1`)).filter((name) => name.endsWith('.seg'));
    files.push(...segments.map((name) => `epoch-1/${name}`));
    const names = new Map<string, string[]>();
    for (const path of [dir, `${dir}/epoch-1`, `${dir}/keys`]) names.set(path, await readdir(path));
    const contents = new Map<string, Buffer>();
    for (const file of files) contents.set(`${dir}/${file}`, await readFile(`${dir}/${file}`));
    let changed = 0;
    for (const file of files) {
      const good = contents.get(`${dir}/${file}`) ?? Buffer.alloc(0);
      // The head's slots end in thousands of zeros.
      const step = (at: number): number => (file === 'head' && good[at] === 0 ? 97 : 1);
      for (let at = 0; at < good.length; at += step(at)) {
        const bad = Buffer.from(good);
        bad.writeUInt8((bad[at] ?? 0) ^ (1 << (at % 8)), at);
        // In memory: the disk need not see six thousand copies.
        const contentOf = (path: string) => (path === `${dir}/${file}` ? bad : contents.get(path));
        const report = await auditLogs({
          storage: {
            list: async (path) => names.get(path) ?? [],
            readFile: async (path) => contentOf(path),
            open: async (path) => {
              const content = contentOf(path) ?? Buffer.alloc(0);
              return {
                size: async () => content.length,
                read: async (into, position) => content.copy(into, 0, position),
                close: async () => undefined,
              };
            },
          },
          logs: [dir],
          trust,
          deep: true,
        });
        const found = findingsOf(report);
        changed += 1;
        if (report.result !== 'bad' || found.length === 0) t.fail(`${file}, byte ${at}: not noticed`);
        const named = found.some(({ index }) => index !== undefined);
        if (file.endsWith('.seg') && !named) t.fail(`${file}, byte ${at}: no entry named`);
      }
    }
    t.pass(`${changed} changes`);
  },
);

void t.test('L02: entries deleted, repeated, swapped, or spliced in from another log', async (t) => {
  const names = (await readdir(`${consumerDir}/epoch-1`)).filter((name) => name.endsWith('.seg'));
  const [first = '', second = ''] = names;
  const good = await readFile(`${consumerDir}/epoch-1/${first}`);
  const foreign = await readFile(`${providerDir}/epoch-1/${first}`);
  const blocks = blocksOf(good);
  const [a, b, c] = [blocks[3], blocks[4], blocks[5]];
  const theirs = blocksOf(foreign)[4];
  if (a === undefined || b === undefined || c === undefined || theirs === undefined)
    throw new Error('too few blocks');
  const cut = (from: number, to: number, put: Buffer = Buffer.alloc(0)): Buffer =>
    Buffer.concat([good.subarray(0, from), put, good.subarray(to)]);
  const part = ([from, to]: readonly [number, number], bytes = good): Buffer => bytes.subarray(from, to);
  for (const [what, bytes, index] of [
    ['deleted', cut(a[0], a[1]), '3'],
    ['repeated', cut(a[1], a[1], part(a)), '4'],
    ['swapped', cut(a[0], b[1], Buffer.concat([part(b), part(a)])), '3'],
    ['spliced in', cut(b[0], b[1], part(theirs, foreign)), '4'],
  ] as const) {
    const copy = await copyOf(consumerDir);
    await writeFile(`${copy}/epoch-1/${first}`, bytes);
    const report = await verify([copy]);
    t.equal(report.result, 'bad', what);
    t.match(treeFindings(report), [{ severity: 'fail', index }], `${what}: position`);
  }
  const copy = await copyOf(consumerDir);
  await rm(`${copy}/epoch-1/${first}`);
  t.equal((await verify([copy])).result, 'bad', 'the first segment removed');
  const middle = await copyOf(consumerDir);
  await rm(`${middle}/epoch-1/${second}`);
  t.match(treeFindings(await verify([middle])), [
    { kind: 'gap', index: String(Number(second.slice(0, 20))) },
  ]);
});

void t.test('L03: the tail cut after an entry, inside one, or a segment removed', async (t) => {
  const names = (await readdir(`${consumerDir}/epoch-1`)).filter((name) => name.endsWith('.seg'));
  const last = names.at(-1) ?? '';
  const good = await readFile(`${consumerDir}/epoch-1/${last}`);
  const block = blocksOf(good).at(-1);
  if (block === undefined) throw new Error('no block');
  for (const [what, length] of [
    ['after an entry', block[0]],
    ['inside an entry', block[0] + 100],
    ['inside the last byte', good.length - 1],
  ] as const) {
    const copy = await copyOf(consumerDir);
    await writeFile(`${copy}/epoch-1/${last}`, good.subarray(0, length));
    const report = await verify([copy]);
    t.equal(report.result, 'bad', what);
    await t.rejects(
      openLog(logOptions(copy, { clock })),
      { name: 'Fatal', message: /rolled back|damaged/ },
      `${what}: no start`,
    );
  }
  const copy = await copyOf(consumerDir);
  await rm(`${copy}/epoch-1/${last}`);
  t.match(findingsOf(await verify([copy])), [{ kind: 'cut off' }, { kind: 'cut off' }, { kind: 'cut off' }]);
});

void t.test(
  'L04: a log rolled back with all its own heads is betrayed by what the peer has seen',
  async (t) => {
    const dir = `${root}/rolled`;
    const before = await openLog(logOptions(dir, { clock, origin: originOf(CONSUMER) }));
    await before.append(draft('deny', 1, { at: clock.now(), out: 'policy.denied' }));
    await before.close();
    const backup = await copyOf(dir);
    const after = await openLog(logOptions(dir, { clock, origin: originOf(CONSUMER) }));
    await after.append(draft('deny', 2, { at: clock.now(), out: 'policy.denied' }));
    await after.close();
    const witness = await openLog(logOptions(`${root}/witness`, { clock, origin: originOf(PROVIDER) }));
    await witness.observePeer({ peer: CONSUMER, note: after.checkpoint(), vkeys: [after.vkey] });
    await witness.close();
    t.equal((await verify([backup])).result, 'good', 'alone it looks fine');
    const report = await verify([backup, `${root}/witness`]);
    t.equal(report.result, 'bad');
    t.match(findingsOf(report), [{ kind: 'cut off', detail: /6 records were signed/ }]);
    t.equal((await verify([dir, `${root}/witness`])).result, 'good', 'the whole log is what the witness saw');
  },
);

void t.test('L05: a log forked under one key is betrayed by what the peer has seen', async (t) => {
  const fork = async (name: string, n: number): Promise<EvidenceLog> => {
    const log = await openLog(logOptions(`${root}/${name}`, { clock, origin: originOf(CONSUMER) }));
    await log.append(draft('deny', n, { at: clock.now(), out: 'policy.denied' }));
    await log.close();
    return log;
  };
  const [one, two] = [await fork('fork-1', 1), await fork('fork-2', 2)];
  const witness = await openLog(logOptions(`${root}/fork-witness`, { clock, origin: originOf(PROVIDER) }));
  await witness.observePeer({ peer: CONSUMER, note: one.checkpoint(), vkeys: [one.vkey] });
  t.equal(
    await witness.observePeer({ peer: CONSUMER, note: two.checkpoint(), vkeys: [two.vkey] }),
    'disputed',
  );
  await witness.close();
  t.match(findingsOf(await verify([`${root}/fork-2`, `${root}/fork-witness`])), [
    { kind: 'fork' },
    { kind: 'fork' },
  ]);
  t.equal(
    (await verify([`${root}/fork-1`, `${root}/fork-witness`])).result,
    'bad',
    'the dispute condemns both',
  );
});

void t.test('a torn tail behind the newest signed head is told, and is no lie', async (t) => {
  const copy = await copyOf(await smallLog());
  const [name = ''] = (await readdir(`${copy}/epoch-1`)).filter((each) => each.endsWith('.seg'));
  const good = await readFile(`${copy}/epoch-1/${name}`);
  await writeFile(
    `${copy}/epoch-1/${name}`,
    Buffer.concat([good, Buffer.alloc(5000), Buffer.from('torn'), Buffer.alloc(99)]),
  );
  const report = await verify([copy]);
  t.equal(report.result, 'good');
  t.match(findingsOf(report, 'note'), [{ kind: 'unsigned tail' }]);
});

void t.test('L12: a key is good for what was signed while it was valid', async (t) => {
  const document = trustDocument();
  for (const { messageKeys } of document.gateways)
    for (const key of messageKeys) key.notAfter = clock.at - 1e9;
  const report = await verify([consumerDir], { trust: parseTrustFile(JSON.stringify(document)) });
  t.match(findingsOf(report)[0], { kind: 'signature', detail: /the key is valid from/ });
});

void t.test('a log of a stranger, or under another key', async (t) => {
  const dir = `${root}/stranger`;
  const log = await openLog(
    logOptions(dir, { clock, origin: 'gw.x.example/log/1', signingKey: keyFrom('x') }),
  );
  await log.close();
  t.match(
    findingsOf(await verify([dir])),
    [
      { kind: 'unknown log' },
      { kind: 'head' },
      { kind: 'head' },
      { kind: 'head' },
      { kind: 'damaged' },
    ].slice(0, 4),
  );
  const forged = `${root}/forged`;
  const other = await openLog(logOptions(forged, { clock, signingKey: keyFrom('another') }));
  await other.close();
  t.match(findingsOf(await verify([forged]))[0], { kind: 'head' });
  t.match(findingsOf(await verify([`${root}/nowhere`])), [{ kind: 'no log' }]);
});

void t.test('show tells an exchange by any of its names', async (t) => {
  for (const id of ['client-7', exchangeId(7), toUuid(exchangeId(7))]) {
    const report = await showExchange({ storage, logs: [consumerDir, providerDir], trust, id });
    t.equal(report.result, 'good', id);
    const [shown] = report.exchanges;
    t.match(shown?.records.map(({ side, kind }) => `${side} ${kind}`).toSorted(), [
      'consumer req.final',
      'consumer res.final',
      'provider req.final',
      'provider res.final',
    ]);
    t.ok(shown?.records.every(({ signedBy }) => signedBy !== undefined));
    t.ok(shown?.steps.every(({ status }) => status === 'pass'));
    t.match(
      renderShow(report),
      /TW\/GOV\/A11\/welfare[^]*POST \/r1\/TW\/GOV\/B07\/housing\/echo\/7[^]*signed by[^]*GOOD/,
    );
  }
  const none = await showExchange({ storage, logs: [consumerDir], trust, id: 'client-7777' });
  t.equal(none.result, 'not found');
});

void t.test('show explains a shared signature so that a person can check it', async (t) => {
  const alone = await showExchange({ storage, logs: [consumerDir], trust, id: 'client-7' });
  t.ok(alone.exchanges[0]?.records.every(({ signedBy }) => signedBy?.batch === undefined));
  t.notMatch(renderShow(alone), /under one signature/);

  const report = await showExchange({ storage, logs: [consumerDir, providerDir], trust, id: 'client-27' });
  t.equal(report.result, 'good');
  t.match(renderShow(report), /message 7 of 20 under one signature: 5 hashes lead to root \S{44}\n/);
  const records = report.exchanges[0]?.records ?? [];
  t.equal(records.length, 4);
  for (const { base, signedBy } of records) {
    if (base === undefined || signedBy?.batch === undefined) throw new Error('no batch');
    const { signed, signature } = signedBy;
    const { index, size, root: top, path } = signedBy.batch;
    t.match([index, size], [7, 20]);
    const key = trust.messageKeys.get(signedBy.kid);
    if (key === undefined) throw new Error('no key');
    const text = Buffer.from(signed, 'base64');
    const hashed = key.alg === 'ed25519' ? null : 'sha256';
    t.ok(checkSignature(hashed, text, key.publicKey, Buffer.from(signature, 'base64')), 'the key signed it');
    t.equal(text.toString('latin1'), `\0troad-batch\n20\n${top}\n`);
    // RFC 9162 §2.1.3.2, with nothing but SHA-256.
    const hash = (...parts: Uint8Array[]): Buffer =>
      createHash('sha256').update(Buffer.concat(parts)).digest();
    let node = hash(Buffer.of(0), Buffer.from(base));
    const rest = path.map((sibling) => Buffer.from(sibling, 'base64'));
    for (let [at, last] = [index, size - 1]; last > 0; [at, last] = [at >> 1, last >> 1]) {
      const sibling = at % 2 === 1 || at < last ? rest.shift() : undefined;
      if (sibling !== undefined)
        node = at % 2 === 1 ? hash(Buffer.of(1), sibling, node) : hash(Buffer.of(1), node, sibling);
    }
    t.equal(node.toString('base64'), top, 'and the path leads there');
  }
});

void t.test('"behind the signed head" of a log that is still written: show waits for the head', async (t) => {
  const copy = await copyOf(consumerDir);
  const file = `${copy}/epoch-1/checkpoint`;
  const latest = await readFile(file);
  const [first = ''] = (await readFile(`${copy}/epoch-1/checkpoints`, 'utf8')).split('\n');
  const early = String(JSON.parse(first)); // the history has one note a line
  await writeFile(file, early);
  const ask = { storage, logs: [copy], trust, id: 'client-27' };
  t.equal((await showExchange(ask)).result, 'bad', 'nobody waits for a log that rests');

  let waits = 0;
  const wait = async (): Promise<void> => {
    if (++waits === 3) await writeFile(file, latest);
  };
  t.equal((await showExchange({ ...ask, wait })).result, 'good');
  t.equal(waits, 3);

  await writeFile(file, early);
  waits = 3;
  t.equal(
    (await showExchange({ ...ask, wait })).result,
    'bad',
    'a head that never comes is not waited for long',
  );
  t.equal(waits, 33, 'all records together');
});

void t.test('show does not believe the stored hashes, nor a changed record', async (t) => {
  const copy = await copyOf(consumerDir);
  await rm(`${copy}/epoch-1/hashes`);
  t.equal(
    (await showExchange({ storage, logs: [copy], trust, id: 'client-7' })).result,
    'good',
    'hashed anew',
  );
  const path = `${copy}/epoch-1/${'0'.repeat(20)}.seg`;
  const bytes = await readFile(path);
  bytes.write('"client-8"', bytes.indexOf('"client-7"'));
  await writeFile(path, bytes);
  t.equal(
    (await showExchange({ storage, logs: [copy], trust, id: 'client-9' })).result,
    'not found',
    'beyond the damage',
  );
});

void t.test(
  'records of a gateway that signs nonsense are refused, whatever their types, and nothing throws',
  async (t) => {
    const dir = `${root}/nonsense`;
    const log = await openLog(logOptions(dir, { clock }));
    const odd: readonly unknown[] = [
      null,
      5,
      'x',
      true,
      [],
      [5],
      {},
      { c: 5 },
      -1,
      1e300,
      '\u202e\u001b[2J',
      '__proto__',
      JSON.parse(`${'['.repeat(1000)}${']'.repeat(1000)}`),
    ];
    const good = (await ExchangePair.sign(1, clock)).record('res.final', 'c');
    let written = 1;
    const append = async (record: object): Promise<void> => {
      // A record that our own types would not allow: the log takes what its gateway gives it.
      await log.append(record as RecordDraft, { meta: Buffer.from('{}') });
      written += 1;
    };
    for (const name of [
      'x',
      'role',
      'me',
      'peer',
      'xid',
      'status',
      'len',
      'dg',
      'sig',
      'kid',
      'out',
      'tls',
      'pol',
      'k',
      'at',
    ]) {
      for (const value of odd) await append({ ...good, [name]: value });
    }
    for (const name of ['peer', 'origin', 'size', 'root', 'note', 'notes', 'why']) {
      for (const value of odd) {
        await append({
          k: 'peer.cp',
          at: 1,
          peer: PROVIDER,
          origin: 'o',
          size: '1',
          root: 'r',
          note: 'n',
          [name]: value,
        });
        await append({ k: 'dispute', at: 1, peer: PROVIDER, why: 'w', notes: ['n'], [name]: value });
      }
    }
    await log.close();
    const report = await verify([dir]);
    t.equal(report.result, 'bad');
    t.equal(report.logs[0]?.size, String(written + 1));
    t.notMatch(renderAudit(report), /[\u001b\u202e]/, 'L11: nothing of it reaches the terminal');
    const shown = await showExchange({ storage, logs: [dir], trust, id: exchangeId(1) });
    t.equal(shown.result, 'bad');
    t.notMatch(renderShow(shown), /[\u001b\u202e]/);
  },
);

void t.test('L15: a record in another spelling is refused', async (t) => {
  const dir = await smallLog();
  // The tree over other bytes is whole and signed: only the spelling is wrong.
  for (const [what, change] of [
    ['a member twice', (text: string) => text.replace('"v":1', '"v":1,"v":1')],
    ['white space', (text: string) => text.replace('{"v"', '{ "v"')],
    ['a float', (text: string) => text.replace('"len":10', '"len":10.0')],
    ['an escape', (text: string) => text.replace('"k":"req', '"k":"\\u0072eq')],
  ] as const) {
    const seen: string[] = [];
    const [epoch] = await findEpochs(storage, dir);
    if (epoch === undefined) throw new Error('no epoch');
    await forEachRecord(storage, epoch, ({ bytes }) => {
      const text = change(bytes.toString());
      if (text !== bytes.toString()) seen.push(text);
    });
    t.ok(seen.length > 0, what);
    for (const text of seen) t.throws(() => readCore(Buffer.from(text)), { name: 'MalformedBytes' }, what);
  }
});

const treeFindings = (report: AuditReport): readonly Finding[] =>
  report.logs[0]?.steps.find(({ name }) => name === 'every record is as it was written')?.findings ?? [];

/** From and to of every block in a segment. */
function blocksOf(bytes: Buffer): (readonly [number, number])[] {
  const blocks: (readonly [number, number])[] = [];
  for (let at = bytes.readUInt32BE(8) + 16; at < bytes.length;) {
    const end = at + bytes.readUInt32BE(at + 8);
    blocks.push([at, end]);
    at = end;
  }
  return blocks;
}
