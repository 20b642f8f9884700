import { mkdtempSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import t from 'tap';
import { ExchangePair, trustDocument } from '../../conformance/builders/exchanges.ts';
import { exchangeId, HandClock, logOptions, originOf, CONSUMER } from '../../conformance/builders/log.ts';
import { openLog } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
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
