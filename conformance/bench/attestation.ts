/**
 * What attestation costs: appraising one piece of evidence, results a second of one attestation service, and the time from
 * an administrator's decision to the last byte of a stream that was running.
 *
 *     node conformance/bench/attestation.ts [rounds]
 */
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { administrate } from '../../gateway/attest/attestor-client.ts';
import { boot, Lab } from '../builders/attestor-lab.ts';
import { event, healthyBoot } from '../builders/event-log.ts';
import { EV } from '../../gateway/tpm/event-log.ts';
import { LyingTpm } from '../builders/lying-tpm.ts';
import { swtpmMissing } from '../builders/swtpm.ts';
import { startSandboxWithDevices } from '../harness/sandbox.ts';
import { ON_DISK, temporaryFolder } from './leftovers.ts';
import { median } from './stats.ts';

const ROUNDS = Number(process.argv[2] ?? 5);
const RESULTS = 500;
const HEADERS = { 'x-road-client': 'TW/GOV/A11/welfare' };

const closing: (() => unknown)[] = [];
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const range = (values: readonly number[], digits: number): string =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`;

/** Evidence is made before, and only its appraisal is timed: parsing, replay, signature, policy, and signing the result. */
async function appraisal(name: string, ak: 'ecdsa' | 'rsassa', more: number): Promise<void> {
  const lab = await Lab.start({ teardown: (run) => void closing.push(run) });
  const tpm = ak === 'ecdsa' ? new LyingTpm() : new LyingTpm({ ak });
  // Real logs are longer than the builder's: up to a hundred events and some ten kilobytes.
  const events = [
    ...healthyBoot(),
    ...Array.from({ length: more }, (_, i) => event(10, EV.ipl, `${i} `.padEnd(150, 'x'))),
  ];
  boot(tpm, events);
  const { id } = await lab.enrol(tpm);
  const micros: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const bodies = Array.from({ length: RESULTS }, () => {
      const connection = {};
      return { connection, body: lab.present(tpm, id, { connection, events }) };
    });
    const before = process.cpuUsage();
    for (const { body, connection } of bodies) await lab.attestor.evidence(body, connection);
    const { user, system } = process.cpuUsage(before);
    micros.push((user + system) / RESULTS);
  }
  const each = micros.map((value) => 1e6 / value);
  say(`${name.padEnd(36)} ${range(micros, 0)} µs of CPU, ${range(each, 0)} results/s of one core`);
}

/** Milliseconds from the decision to the last byte of a stream of events that would have gone on. */
async function revocation(): Promise<void> {
  const dir = temporaryFolder(ON_DISK);
  const subject = await startSandboxWithDevices(join(dir, 'sandbox'));
  const { device } = subject.ready;
  if (device === undefined) throw new Error('the sandbox has no devices');
  const url = `${device.proxy}/r1/TW/GOV/B07/housing/attested/`;
  const decide = (action: string) =>
    administrate(device.attestor.admin, { method: 'POST', path: `/devices/welfare/${action}`, body: {} });
  const waits: number[] = [];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const stream = await opened(`${url}events?count=100000&ms=5`);
      const began = performance.now();
      await decide('suspend');
      waits.push((await stream.lastByteAt) - began);
      await decide('resume');
      await healthy(`${url}echo/x`);
    }
  } finally {
    await subject.stop();
  }
  say(`${'suspended in the middle of a stream'.padEnd(36)} ${range(waits, 0)} ms until its last byte`);
}

/** A stream that has begun, and when it had its last byte. */
async function opened(url: string): Promise<{ readonly lastByteAt: Promise<number> }> {
  const begun = Promise.withResolvers<void>();
  const lastByteAt = new Promise<number>((resolve, reject) => {
    request(url, { headers: HEADERS, agent: false }, (response) => {
      let last = performance.now();
      response.on('data', () => {
        last = performance.now();
        begun.resolve();
      });
      response.on('error', () => undefined); // it is broken off: that is the point
      response.once('close', () => resolve(last));
    })
      .on('error', reject)
      .end();
  });
  await begun.promise;
  return { lastByteAt };
}

async function healthy(url: string): Promise<void> {
  for (const late = performance.now() + 60_000; performance.now() < late; await pause(100)) {
    const status = await new Promise<number>((resolve, reject) => {
      request(url, { headers: HEADERS, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
        .on('error', reject)
        .end();
    });
    if (status === 200) return;
  }
  throw new Error('the machine did not become healthy again');
}

await appraisal('P-256 key, 18 events', 'ecdsa', 0);
await appraisal('P-256 key, 118 events', 'ecdsa', 100);
await appraisal('RSA-2048 key, 118 events', 'rsassa', 100);
for (const close of closing) await close();
if (swtpmMissing === false) await revocation();
else say(swtpmMissing);
