import t, { type Test } from 'tap';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { makeCutProxy } from '../builders/cut-proxy.ts';
import { ECHO_BODY } from './backend.ts';
import { changeBytes, changedBytesOfOurs, type Way } from './changed-byte.ts';
import { openLab, PART_BYTES } from './lab.ts';
import { missing } from './spawn.ts';

// Real gateways, on a machine that may have other things to do.
t.setTimeout(170_000);

const part = randomBytes(PART_BYTES);

/** A service with nothing but the wire before it: nobody on the way notices what is changed. */
async function unguarded(
  t: Test,
  answer: (id: string, part: boolean, response: ServerResponse) => void,
): Promise<Pick<Way, 'wire' | 'target'>> {
  const service = createServer((request, response) => {
    const [, id = '', path] = request.url?.split('/') ?? [];
    request.resume().on('end', () => {
      answer(id, path === 'part', response);
    });
  }).listen(0, '127.0.0.1');
  await once(service, 'listening');
  const wire = await makeCutProxy((service.address() as AddressInfo).port); // a TCP server that listens has an address
  t.teardown(async () => {
    await wire.close();
    service.closeAllConnections();
    service.close();
  });
  return {
    wire,
    target: (_door, path, id) => ({ url: `http://127.0.0.1:${wire.port}/${id}${path}`, headers: {} }),
  };
}

const passed = (gates: Awaited<ReturnType<typeof changeBytes>>): unknown => gates.map((gate) => gate.passed);

void t.test('a way that lets changed bytes through is found out', async (t) => {
  const way = await unguarded(t, (_id, isPart, response) => response.end(isPart ? part : ECHO_BODY));
  const close: Way['close'] = () => Promise.resolve([new Set(), new Set()]);
  const [, , upload, download] = await changeBytes('x', { ...way, close }, part);
  t.match(upload, { passed: false, detail: /^status 200, complete/ });
  t.match(download, { passed: false, detail: 'status 200, complete, some other bytes' });
});

void t.test('a way that carries nothing, or a wire that nobody uses, proves nothing', async (t) => {
  const way = await unguarded(t, (_id, _part, response) => response.writeHead(502).end());
  const close: Way['close'] = () => Promise.resolve([new Set(), new Set()]);
  const refused = await changeBytes('x', { ...way, close }, part);
  t.same(passed(refused), [false, false, false, false]);
  const elsewhere = await unguarded(t, (_id, isPart, response) => response.end(isPart ? part : ECHO_BODY));
  const aside = await changeBytes('x', { ...elsewhere, wire: way.wire, close }, part);
  t.match(aside[3], { passed: false, detail: /^the wire carried nothing before, nothing was changed/ });
});

void t.test('an exchange that failed may not be complete in the log of who was told', async (t) => {
  const way = await unguarded(t, (id, isPart, response) => {
    response.writeHead(id.startsWith('changed') ? 502 : 200).end(isPart ? part : ECHO_BODY);
  });
  const logs = (near: readonly string[], far: readonly string[]): Way['close'] => {
    return () => Promise.resolve([new Set(near), new Set(far)]);
  };
  t.same(passed(await changeBytes('x', { ...way, close: logs([], []) }, part)), [true, true, true, true]);
  const all = ['changed-0', 'changed-1', 'changed-2', 'changed-3'];
  const told = await changeBytes('x', { ...way, close: logs(all.slice(3), all) }, part);
  t.same(passed(told), [false, true, false, false], 'the far gateway has sent the answers that are changed');
  t.match(told[3]?.detail, 'completed, says the log of the near gateway');
});

const absent = missing('nginx') ?? missing('openssl');
const skip = absent === undefined ? false : `LIVE BENCHMARK NOT RUN: ${absent}`;

void t.test('between our gateways no changed byte becomes an answer', { skip }, async (t) => {
  delete process.env['NODE_OPTIONS']; // tap's loader, which the gateways are to do without
  const lab = await openLab(PART_BYTES);
  t.teardown(() => lab.close());
  const gates = await changedBytesOfOurs(lab);
  t.equal(gates.length, 4);
  t.same(
    gates.filter((gate) => !gate.passed),
    [],
  );
});
