import t from 'tap';
import { download, upload } from '../bulk.ts';
import { openLab } from '../lab.ts';
import { openLoop } from '../load-open.ts';
import { missing } from '../spawn.ts';
import { caddyPair } from './caddy-pair.ts';
import { haproxyPair } from './haproxy-pair.ts';
import { nodePair } from './node-pair.ts';

const absent = missing('nginx') ?? missing('openssl');

for (const kind of [haproxyPair, caddyPair, nodePair]) {
  const why = kind.missing() ?? absent;
  const skip = why === undefined ? false : `PEER NOT TRIED: ${why}`;
  void t.test(`${kind.name} carries what the benchmark sends`, { skip }, async (t) => {
    delete process.env['NODE_OPTIONS']; // tap's loader, which the proxies are to do without
    const lab = await openLab(1 << 20);
    t.teardown(() => lab.close());
    const pair = await kind.start(lab);
    try {
      t.match(await openLoop(await pair.userTarget('kept'), 100, 0.3), { errors: 0 });
      const whole = { status: 200, same: true };
      t.match(await download(pair.target('bench', '/payload'), lab.payload.bytes), whole);
      t.match(await upload(pair.target('sink', '/swallow'), lab.payload), whole);
    } finally {
      await pair.stop();
    }
  });
}
