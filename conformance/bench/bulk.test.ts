import t, { type Test } from 'tap';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { download, upload } from './bulk.ts';
import { start } from './spawn.ts';

const bytes = randomBytes(3_000_001);
const sha256 = createHash('sha256').update(bytes).digest('hex');
const flipped = (at: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
};

async function served(
  t: Test,
  listener: RequestListener,
): Promise<{ url: string; headers: object & Record<string, string> }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, headers: {} };
}

void t.test('a download is compared byte for byte, whatever its speed', async (t) => {
  const good = await served(t, (_, response) => response.end(bytes));
  t.match(await download(good, bytes, { digest: true }), {
    status: 200,
    bytes: bytes.length,
    same: true,
    sha256,
  });
  t.match(await download(good, bytes), { same: true, sha256: null });
  const slow = await download(good, bytes, { slow: true, digest: true });
  t.match(slow, { same: true, sha256 });
  t.ok(slow.elapsedMs >= 20, '3 MB at 120 MB/s take 25 ms');

  for (const [what, wrong] of [
    ['first byte', flipped(0)],
    ['last byte', flipped(bytes.length - 1)],
    ['one byte less', bytes.subarray(1)],
    ['one byte more', Buffer.concat([bytes, Buffer.of(0)])],
    ['nothing', Buffer.alloc(0)],
  ] as const) {
    const url = await served(t, (_, response) => response.end(wrong));
    t.match(await download(url, bytes), { status: 200, same: false }, what);
  }
  const broken = await served(t, (_, response) => {
    response.writeHead(200, { 'content-length': bytes.length });
    response.write(bytes.subarray(0, 1000), () => response.destroy());
  });
  await t.rejects(download(broken, bytes), { code: 'ECONNRESET' });
});

void t.test('an upload is judged by what the sink saw', async (t) => {
  const dir = t.testdir({ payload: bytes });
  const sink = start(process.execPath, [new URL('sink.ts', import.meta.url).pathname, `${dir}/payload`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => sink.stop());
  const [port] = (await once(sink.child.stdout ?? sink.child, 'data')) as [Buffer];
  const target = (path: string) => ({ url: `http://127.0.0.1:${Number(port)}${path}`, headers: {} });
  const payload = (body: Buffer) => ({ bytes: body, sha256, folder: dir });

  t.match(await upload(target('/swallow'), payload(bytes)), {
    status: 200,
    bytes: bytes.length,
    same: true,
    sha256: null,
  });
  t.match(await upload(target('/digest'), payload(bytes)), { same: true, sha256 });
  t.match(await upload(target('/slow'), payload(bytes)), { same: true, sha256 });
  t.match(await upload(target('/swallow'), payload(flipped(1_500_000))), { status: 200, same: false });
  t.match(await upload(target('/swallow'), payload(bytes.subarray(0, -1))), { same: false });
  t.match(await upload(target('/swallow'), payload(Buffer.concat([bytes, bytes]))), { same: false });

  const refused = await served(t, (_, response) => response.writeHead(413).end('<html>too large</html>'));
  t.match(await upload(refused, payload(bytes.subarray(0, 10))), { status: 413, same: false });
});
