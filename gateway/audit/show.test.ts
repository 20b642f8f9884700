import { mkdtempSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import t from 'tap';
import { ExchangePair, trustDocument } from '../../conformance/builders/exchanges.ts';
import {
  draft,
  exchangeId,
  HandClock,
  logOptions,
  originOf,
  CONSUMER,
  PROVIDER,
} from '../../conformance/builders/log.ts';
import { openLog } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import { renderShow } from './render-show.ts';
import { showExchange } from './show.ts';
import { parseTrustFile } from './trust-file.ts';

const root = mkdtempSync(`${tmpdir()}/troad-show-`);
t.teardown(() => rm(root, { recursive: true, force: true }));

void t.test('what was found in one segment is whole after those behind it were read', async (t) => {
  const clock = new HandClock();
  const log = await openLog(logOptions(root, { origin: originOf(CONSUMER), clock }));
  for (let n = 0; n < 100; n += 1) await (await ExchangePair.sign(n, clock)).write(log, 'c');
  await log.close();
  const segments = (await readdir(`${root}/epoch-1`)).filter((name) => name.endsWith('.seg'));
  t.ok(segments.length > 2, `${segments.length} segments`);
  const trust = parseTrustFile(JSON.stringify(trustDocument()));
  for (let n = 0; n < 100; n += 1) {
    const report = await showExchange({ storage: nodeStorage(), logs: [root], trust, id: exchangeId(n) });
    t.equal(report.result, 'good');
    const records = report.exchanges[0]?.records ?? [];
    t.match(
      records.map(({ kind, base, signedBy }) => [kind, base !== undefined, signedBy !== undefined]),
      [
        ['req.final', true, true],
        ['res.final', true, true],
      ],
    );
  }
});

const trusted = parseTrustFile(JSON.stringify(trustDocument()));

/** A folder with one log, written by a function. */
async function logOf(
  name: string,
  write: (log: Awaited<ReturnType<typeof openLog>>) => Promise<unknown>,
  gateway = CONSUMER,
  clock = new HandClock(),
): Promise<string> {
  const dir = `${root}/${name}`;
  const log = await openLog(logOptions(dir, { origin: originOf(gateway), clock }));
  await write(log);
  await log.close();
  return dir;
}

void t.test('an X-Road-Id that is a UUID, as clients make them, is no less one', async (t) => {
  const xid = '2e5e3655-c72f-4da6-9ef9-d4ef2dddc0dd';
  const dir = await logOf('uuid', (log) => log.append(draft('deny', 1, { xid, out: 'policy.denied' })));
  const report = await showExchange({ storage: nodeStorage(), logs: [dir], trust: trusted, id: xid });
  t.match(report.exchanges, [{ exchange: exchangeId(1), xRoadId: xid }]);
});

void t.test(
  'of many exchanges under one X-Road-Id some are shown, and it is said how many are not',
  async (t) => {
    const dir = await logOf('many', async (log) => {
      for (let n = 0; n < 23; n += 1)
        await log.append(draft('deny', n, { xid: 'again', out: 'policy.denied' }));
    });
    const report = await showExchange({ storage: nodeStorage(), logs: [dir], trust: trusted, id: 'again' });
    t.equal(report.exchanges.length, 20);
    t.equal(report.more, 3);
    t.match(renderShow(report), /3 more exchanges/);
  },
);

void t.test(
  'who asked for what is told as the consumer signed it, whatever another record claims',
  async (t) => {
    const clock = new HandClock();
    const pair = await ExchangePair.sign(7, clock);
    const dir = await logOf('claims', async (log) => {
      const claimed = {
        client: 'TW/GOV/Z99/other',
        svc: 'TW/GOV/B07/housing/other',
        op: 'DELETE',
        xid: 'other',
      };
      // Its own time is what a gateway writes: this one stands first in the story.
      await log.append(draft('recheck', 7, { ...claimed, at: clock.at - 60_000 }));
      await pair.write(log, 'c');
    });
    const ask = { storage: nodeStorage(), trust: trusted, id: exchangeId(7) };
    const report = await showExchange({ ...ask, logs: [dir] });
    t.match(report.exchanges[0]?.records[0], { kind: 'recheck' });
    t.equal(report.exchanges[0]?.xRoadId, 'client-7');
    t.match(renderShow(report), /who {8}TW\/GOV\/A11\/welfare\n.*\/echo\n.*POST \/r1\/.*\/echo\/7\n/);
    const unsigned = await logOf('unsigned', (log) =>
      log.append(draft('deny', 7, { client: 'TW/GOV/Z99/other', out: 'policy.denied' })),
    );
    const told = renderShow(await showExchange({ ...ask, logs: [unsigned] }));
    t.match(told, /who {8}TW\/GOV\/Z99\/other\n[^]*not proved/);
  },
);

void t.test('a copy that ends before the exchange does not say that the gateway kept silent', async (t) => {
  const clock = new HandClock();
  const early = await logOf(
    'ends-before',
    (log) => log.append(draft('deny', 1, { at: clock.at })),
    CONSUMER,
    clock,
  );
  clock.at += 60_000;
  const pair = await ExchangePair.sign(8, clock);
  const late = await logOf('has-it', (log) => pair.write(log, 'p'), PROVIDER, clock);
  const ask = { storage: nodeStorage(), trust: trusted, id: exchangeId(8) };
  const report = await showExchange({ ...ask, logs: [early, late] });
  t.equal(report.result, 'good');
  t.match(report.exchanges[0]?.steps[3], { status: 'not checkable' });
  t.match(renderShow(report), /GOOD: nothing contradicts .*not checkable/, 'and no more than that is said');
  clock.at += 60_000;
  const silent = await logOf(
    'silent',
    (log) => log.append(draft('deny', 1, { at: clock.at })),
    CONSUMER,
    clock,
  );
  t.equal(
    (await showExchange({ ...ask, logs: [silent, late] })).result,
    'bad',
    'one that goes on behind it does',
  );
});
