import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { BatchSignature } from '../gateway/message/batch.ts';
import { LogTail } from './harness/log-tail.ts';
import { PLAIN_NODE } from './harness/plain-node.ts';
import { startSandbox } from './harness/sandbox.ts';

// Batch signatures in two real gateways: there under load, not there without, and checked by the auditor either way.

const CLI = fileURLToPath(new URL('../gateway/cli.ts', import.meta.url));
const subject = await startSandbox(t.testdir({}));
const { consumer, provider, trust } = subject.ready;
const url = `${consumer.url}/r1/TW/GOV/B07/housing/echo/x`;

async function ask(id: string): Promise<number> {
  const headers = { 'X-Road-Client': 'TW/GOV/A11/welfare', 'X-Road-Id': id };
  const answer = await fetch(url, { method: 'POST', headers, body: 'x'.repeat(1024) });
  await answer.arrayBuffer();
  return answer.status;
}

/** Signatures that a log's owner made, by the exchange's X-Road-Id. */
async function signaturesOf(log: string, kind: 'req.final' | 'res.final'): Promise<Map<string, Buffer>> {
  const made = new Map<string, Buffer>();
  for (const record of await new LogTail(log).records()) {
    if (record.k === kind && record.xid !== undefined && record.sig !== undefined)
      made.set(record.xid, Buffer.from(record.sig, 'base64'));
  }
  return made;
}

const isPlain = (signature: Buffer | undefined): boolean => signature?.length === 64;
const audit = (...args: readonly string[]) =>
  spawnSync(PLAIN_NODE[0] ?? '', [...PLAIN_NODE.slice(1), CLI, 'audit', ...args], { encoding: 'utf8' });

await t.test('a message alone has a signature of its own', async (t) => {
  for (const id of ['alone-1', 'alone-2', 'alone-3']) t.equal(await ask(id), 200);
  const requests = await signaturesOf(consumer.log, 'req.final');
  const answers = await signaturesOf(provider.log, 'res.final');
  for (const id of ['alone-1', 'alone-2', 'alone-3']) {
    t.ok(isPlain(requests.get(id)), id);
    t.ok(isPlain(answers.get(id)), id);
  }
});

await t.test('messages that wait at the same time share one, at both gateways', async (t) => {
  let [asked, answered] = ['', ''];
  for (let round = 0; round < 20 && (asked === '' || answered === ''); round += 1) {
    const ids = Array.from({ length: 48 }, (_, n) => `together-${round}-${n}`);
    t.same(
      await Promise.all(ids.map(ask)),
      ids.map(() => 200),
    );
    const shared = async (log: string, kind: 'req.final' | 'res.final'): Promise<string> =>
      [...(await signaturesOf(log, kind))].find(([, signature]) => !isPlain(signature))?.[0] ?? '';
    [asked, answered] = [await shared(consumer.log, 'req.final'), await shared(provider.log, 'res.final')];
  }
  for (const [log, kind, id] of [
    [consumer.log, 'req.final', asked],
    [provider.log, 'res.final', answered],
  ] as const) {
    const own = await signaturesOf(log, kind);
    const { size, rootSignature } = new BatchSignature(own.get(id) ?? Buffer.alloc(0));
    const batch = [...own.values()]
      .filter((signature) => !isPlain(signature))
      .map((signature) => new BatchSignature(signature))
      .filter((other) => other.rootSignature.equals(rootSignature));
    t.same(
      batch.map(({ index }) => index).toSorted((a, b) => a - b),
      Array.from({ length: size }, (_, index) => index),
      `${kind}: a batch of ${size}, every message of it in the log`,
    );
    const shown = audit('show', id, '--log', consumer.log, '--log', provider.log, '--trust', trust);
    t.equal(shown.status, 0, { stderr: shown.stderr, stdout: shown.stdout.slice(-3000) });
    t.match(shown.stdout, /message \d+ of \d+ under one signature: \d+ hashes lead to root/);
  }
  for (const { admin } of [consumer, provider]) {
    const page = await (await fetch(`${admin}/metrics`)).text();
    const value = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(page)?.[1]);
    t.ok(value('troad_signature_messages_sum') > value('troad_signature_messages_count'), 'and is counted');
  }
});

await t.test('both logs verify, every signature of them', async (t) => {
  t.equal(await subject.stop(), 0);
  const { status, stdout } = audit('verify', consumer.log, provider.log, '--trust', trust);
  t.equal(status, 0, stdout.slice(-2000));
});
