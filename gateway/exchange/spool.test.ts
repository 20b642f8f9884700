import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import t from 'tap';
import { RecordingOutflow, ScriptedInflow } from '../../conformance/builders/flows.ts';
import { NO_FIELDS } from '../core/fields.ts';
import { Lending } from '../core/lending.ts';
import { BodyMeter } from '../message/digest.ts';
import type { Permit } from './permit.ts';
import { spool } from './spool.ts';

const permit = undefined as unknown as Permit; // not this file's matter
const TERMS = {
  length: undefined,
  maxBytes: 1 << 30,
  idleMs: 5000,
  ceiling: { bytes: Number.MAX_SAFE_INTEGER, code: 'policy.request_too_large' },
  tooLarge: 'message.too_large',
  wrongLength: 'message.length_mismatch',
  stalled: 'message.stalled',
} as const;

async function through(body: Buffer, dir: string, spoolBytes = 1 << 30) {
  const from = new ScriptedInflow();
  const spooling = spool(
    permit,
    from,
    new BodyMeter(),
    TERMS,
    { spoolBytes, spoolDir: dir },
    async () => NO_FIELDS,
  );
  let over = false;
  spooling.catch(() => (over = true));
  // In memory that is used again as soon as it was given back.
  const lending = new Lending(50_000, 100);
  for (let at = 0; at < body.length; at += 50_000) {
    const lent = lending.take();
    from.sink?.data(lent.bytes.subarray(0, body.copy(lent.bytes, 0, at)), lent);
    while (from.paused && !over) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  from.end();
  return spooling;
}

void t.test('small and large bodies come out as they went in, and leave nothing on the disk', async (t) => {
  const dir = t.testdir({});
  for (const size of [0, 1, 1000, 1024 * 1024, 1024 * 1024 + 1, 3_333_333]) {
    const body = randomBytes(size);
    const spooled = await through(body, dir);
    t.same(readdirSync(dir), [], 'the file has no name while it is used');
    const out = new RecordingOutflow();
    await spooled.sendTo(out);
    t.ok(Buffer.concat(out.received).equals(body) && out.complete, `${size} bytes`);
  }
});

void t.test('more than the spool may hold is refused', async (t) => {
  await t.rejects(through(randomBytes(200_000), t.testdir({}), 100_000), { code: 'message.too_large' });
});

void t.test('a body that does not check out never leaves', async (t) => {
  const from = new ScriptedInflow();
  const limits = { spoolBytes: 1000, spoolDir: t.testdir({}) };
  const bad = spool(permit, from, new BodyMeter(), TERMS, limits, () =>
    Promise.reject(new Error('bad digest')),
  );
  from.data('abc');
  from.end();
  await t.rejects(bad, { message: 'bad digest' });
});

void t.test('a service that goes away while it is served ends the sending', async (t) => {
  const spooled = await through(randomBytes(2_000_000), t.testdir({}));
  const out = new RecordingOutflow(false);
  out.roomy = false;
  const sending = spooled.sendTo(out);
  setTimeout(() => out.events?.error(new Error('gone')), 10);
  await t.rejects(sending, { message: 'gone' });
});
