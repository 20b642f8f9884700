// Devices end to end: real gateways, a real attestation service, software TPMs; a machine that is broken into in every way
// the sandbox knows, and what an administrator does about it.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { administrate } from '../gateway/attest/attestor-client.ts';
import { ask, type Answer } from '../gateway/sandbox/client/http.ts';
import type { BreakReport } from '../gateway/sandbox/devices/breaks.ts';
import { ISSUER } from '../gateway/sandbox/devices/attestation-service.ts';
import type { Told } from '../gateway/sandbox/idp/transmitter.ts';
import { swtpmMissing } from './builders/swtpm.ts';
import { PLAIN_NODE } from './harness/plain-node.ts';
import { startSandboxWithDevices, type Subject } from './harness/sandbox.ts';

t.setTimeout(600_000);
const CLI = fileURLToPath(new URL('../gateway/cli.ts', import.meta.url));
const ATTESTED = '/r1/TW/GOV/B07/housing/attested';
const HEADERS = { 'x-road-client': 'TW/GOV/A11/welfare', accept: 'application/problem+json' };

const folder = mkdtempSync(join(tmpdir(), 'troad-devices-'));
const dir = join(folder, 'sandbox');

const devicesOf = ({ ready }: Subject) => {
  if (ready.device === undefined) throw new Error('the sandbox has no devices');
  return ready.device;
};
const codeOf = ({ body }: Answer): unknown => (JSON.parse(body) as { code?: unknown }).code;

/** As an operator types it. */
async function troad(...args: readonly string[]): Promise<string> {
  const [program, ...before] = PLAIN_NODE;
  const { stdout } = await promisify(execFile)(program, [...before, CLI, ...args], { timeout: 600_000 });
  return stdout;
}

async function until<T>(what: string, find: () => Promise<T | undefined>): Promise<T> {
  for (const late = performance.now() + 60_000; performance.now() < late;) {
    const found = await find();
    if (found !== undefined) return found;
    await pause(100);
  }
  throw new Error(`${what}: did not happen`);
}

void t.test('devices of the sandbox', { skip: swtpmMissing, timeout: 600_000 }, async (t) => {
  let subject = await startSandboxWithDevices(dir);
  const get = (base: string, path = '/echo/x', headers: Record<string, string> = {}): Promise<Answer> =>
    ask(`${base}${ATTESTED}${path}`, { headers: { ...HEADERS, ...headers } });
  const through = (path?: string): Promise<Answer> => get(devicesOf(subject).proxy, path);
  const passes = (what: string): Promise<true> =>
    until(what, async () => ((await through()).status === 200 ? true : undefined));
  const admin = (path: string, body?: object) =>
    administrate(devicesOf(subject).attestor.admin, {
      method: body === undefined ? 'GET' : 'POST',
      path,
      ...(body && { body }),
    });
  const machines = async (): Promise<Record<string, string>> => {
    const { devices } = await admin('/devices');
    // What `troad attestor devices` prints.
    return Object.fromEntries((devices as { name: string; id: string }[]).map(({ name, id }) => [name, id]));
  };

  const keyOf = async (machine: string): Promise<string | undefined> => {
    const { devices } = await admin('/devices');
    return (devices as { name: string; bindingKey: string }[]).find(({ name }) => name === machine)
      ?.bindingKey;
  };

  await t.test('lets the attested machine in, and no other', async (t) => {
    t.equal((await through()).status, 200);
    const { consumer } = subject.ready;
    const bare = await get(consumer.url);
    t.equal(bare.status, 401);
    t.equal(codeOf(bare), 'device.required');
    t.match(bare.headers['www-authenticate'], 'T-Road-Device audience="gw.a11.tw.troad.example"');
    // What a program says of the machine is not what the machine says.
    const forged = await get(devicesOf(subject).proxy, '/echo/x', { 't-road-device': 'result="x"' });
    t.equal(forged.status, 200);
    t.match(subject.output.join('\n'), /SOFTWARE TPMs ARE ACCEPTED/, 'the laboratory setting is loud');
  });

  await t.test('the proxy passes bodies of both directions', async (t) => {
    const body = 'x'.repeat(3_000_000);
    const answer = await ask(`${devicesOf(subject).proxy}${ATTESTED}/files/x`, {
      method: 'PUT',
      headers: { ...HEADERS, 'content-length': String(body.length) },
      body,
    });
    t.match(JSON.parse(answer.body), { size: body.length, sha256: sha256(body) });
    const down = await through('/files/2000000?seed=7&chunked');
    t.equal(down.body.length > 1_000_000, true);
    const events = await through('/events?count=3&ms=20');
    t.equal(events.body.match(/event: tick/g)?.length, 3);
  });

  for (const [what, code] of [
    ['relayed-result', 'device.binding'],
    ['extend-pcr', 'device.revoked'],
    ['stale-result', 'device.expired'],
    ['cloned-tpm', 'device.revoked'],
    ['relabelled-log', 'device.insufficient'],
  ] as const) {
    await t.test(`a compromised machine: ${what}`, { timeout: 600_000 }, async (t) => {
      const told = await troad('sandbox', 'device', '--dir', dir, '--json', '--break', what);
      const { asExpected, observed } = JSON.parse(told) as BreakReport;
      t.equal(asExpected, true, told);
      t.equal(observed[0]?.status, 200, 'it worked before');
      // Of a relayed result the last answer is to the result alone, which is worth too little.
      const refused = observed.find(({ status }) => status !== 200);
      t.equal(refused?.code, code);
      t.comment(`${what}: refused ${refused?.seconds ?? 0} s later, ${refused?.code ?? ''}`);
      const healed = await troad('sandbox', 'device', '--dir', dir, '--heal');
      t.match(healed, /as expected/);
      await passes('healed');
    });
  }

  await t.test('an administrator suspends it in the middle of a stream', { timeout: 600_000 }, async (t) => {
    const stream = open(`${devicesOf(subject).proxy}${ATTESTED}/events?count=2000&ms=50`);
    await stream.begun;
    const began = performance.now();
    await admin('/devices/welfare/suspend', {});
    const { ended, bytes } = await stream.over;
    t.ok(bytes > 0);
    t.not(ended, 'complete', 'the stream did not run to its end');
    t.comment(`last byte ${Math.round(performance.now() - began)} ms after the decision`);
    const refused = await until('refused', async () => {
      const answer = await through();
      return answer.status === 200 ? undefined : answer;
    });
    t.match(codeOf(refused), /^device\./);
    await admin('/devices/welfare/resume', {});
    await passes('resumed');
  });

  await t.test('its agency says that it is not compliant', { timeout: 600_000 }, async (t) => {
    const { identity } = subject.ready;
    if (identity === undefined) throw new Error('the identity provider is not installed');
    const tell = async (device: string): Promise<readonly Told[]> => {
      const { status, body } = await ask(`${identity.issuer}/devices/end`, {
        method: 'POST',
        ca: readFileSync(identity.ca, 'utf8'),
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ attestor: ISSUER, device }),
      });
      t.equal(status, 200, body);
      return (JSON.parse(body) as { told: readonly Told[] }).told; // the sandbox's own provider
    };
    for (const machine of ['welfare', 'host-b07']) {
      const stream = open(`${devicesOf(subject).proxy}${ATTESTED}/events?count=2000&ms=50`);
      await stream.begun;
      const began = performance.now();
      const told = await tell((await machines())[machine] ?? '');
      t.match(told, [
        { audience: 'https://gw.a11.tw.troad.example', status: 202 },
        { audience: 'https://gw.b07.tw.troad.example', status: 202 },
      ]);
      const { ended } = await stream.over;
      t.not(ended, 'complete', `what ran on ${machine} did not run to its end`);
      t.comment(`${machine}: ended ${Math.round(performance.now() - began)} ms after the event`);
      await passes('its next result counts');
    }
  });

  await t.test('re-enrols, with new keys, when an administrator lets it', { timeout: 600_000 }, async (t) => {
    const before = await keyOf('welfare');
    await t.rejects(troad('sandbox', 'device', '--dir', dir, '--re-enrol'), /enrol\.device_exists/);
    await admin('/devices/welfare/re-enrol', {});
    await troad('sandbox', 'device', '--dir', dir, '--re-enrol');
    const after = await keyOf('welfare');
    t.not(after, before);
    await passes('re-enrolled');
  });

  await t.test('a second start knows its machines', { timeout: 600_000 }, async (t) => {
    const before = await machines();
    t.equal(await subject.stop(), 0);
    subject = await startSandboxWithDevices(dir);
    t.same(await machines(), before);
    await passes('after all machines were started anew');
  });

  await t.test('stops', async (t) => {
    t.equal(await subject.stop(), 0);
    rmSync(folder, { recursive: true, force: true });
  });
});

/** A download whose end is looked at. */
function open(url: string): {
  readonly begun: Promise<unknown>;
  readonly over: Promise<{ readonly ended: 'complete' | 'broken'; readonly bytes: number }>;
} {
  let began: (value?: unknown) => void = () => undefined;
  const begun = new Promise((resolve) => (began = resolve));
  const over = new Promise<{ ended: 'complete' | 'broken'; bytes: number }>((resolve, reject) => {
    let bytes = 0;
    request(url, { headers: HEADERS, agent: false }, (response) => {
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        began();
      });
      response.once('close', () => resolve({ ended: response.complete ? 'complete' : 'broken', bytes }));
      response.on('error', () => undefined);
    })
      .on('error', reject)
      .end();
  });
  return { begun, over };
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
