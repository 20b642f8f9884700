// Real HTTPS, real files; the clock stands still until it is moved.
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { RevocationServer, Verifier } from '../../conformance/harness/device-lab.ts';
import { Authority } from '../../pki/authority.ts';
import { Revocations } from '../device/revocations.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import type { Attestor } from '../registry/entries.ts';
import type { Registry } from '../registry/registry.ts';
import type { Emit } from '../telemetry/events.ts';
import { DeviceLists } from './device-lists.ts';
import { KeptDeviceLists, withList } from './kept-device-lists.ts';

const now = Date.now();
const authority = await Authority.create('TW test', () => now);
const https = await authority.issueServer();
const verifier = new Verifier();
const { issuer, kid } = verifier.signer;
const KEY = { issuer, kid, publicKey: verifier.publicKey };
const HOUR_AGO = now - 3_600_000;
const revoked = (device: string, before = now) => ({
  device,
  epoch: 2,
  before,
});

async function until(what: string, found: () => boolean): Promise<void> {
  for (const patience = Date.now() + 60_000; !found();) {
    if (Date.now() > patience) throw new Error(`${what}: did not happen`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A gateway's main thread as far as it follows attestation services. */
class Follower {
  readonly dir: string;
  readonly events: [event: string, fields: object][] = [];
  readonly lists: DeviceLists;
  readonly heard: string[] = [];
  elapsedMs = 0;

  constructor(t: Test, dir: string, url: string) {
    this.dir = dir;
    const row = { ...verifier.row({}), revocations: { url } };
    const attestor: Attestor = { issuer, keys: [], revocationKeys: [KEY], row };
    const registry: Pick<Registry, 'attestors' | 'attestor'> = {
      attestors: [attestor],
      attestor: () => attestor,
    };
    const emit: Emit = (event, fields) => void this.events.push([event, fields]);
    this.lists = new DeviceLists({
      ca: Buffer.from(authority.rootPem),
      retryMs: 50,
      silenceMs: 60_000,
      clock: { now: () => now, monotonic: () => this.elapsedMs },
      kept: new KeptDeviceLists(join(dir, 'device-lists'), nodeStorage()),
      registry: () => registry as Registry, // nothing else of it is asked for here
      onList: (text) => void this.heard.push(text),
      emit,
    });
    t.teardown(() => this.lists.close());
  }

  get file(): string {
    const [name = 'none'] = readdirSync(join(this.dir, 'device-lists'));
    return join(this.dir, 'device-lists', name);
  }

  told(text: string): boolean {
    return this.events.some((each) => JSON.stringify(each).includes(text));
  }
}

async function served(t: Test, list: string) {
  const dir = t.testdir({ agencies: { a11: { 'https.pem': https.chainPem, 'https.key': https.keyPem } } });
  const server = await RevocationServer.start({ dir }, list);
  return { dir, server };
}
/** Nobody listens there. */
const NOWHERE = 'https://localhost:9';

void t.test('what was taken back is kept over a restart, and an older list is never taken', async (t) => {
  const older = verifier.revocations([]);
  const newer = verifier.revocations([revoked('stolen')]);
  const { dir, server } = await served(t, newer);
  const first = new Follower(t, dir, server.url);
  await first.lists.follow();
  await until('kept', () => first.told('device.revocations') && first.file.endsWith('.lists'));
  await first.lists.close();
  t.equal(statSync(first.file).mode & 0o777, 0o600);
  t.equal(readFileSync(first.file, 'latin1'), `${newer}\n`);

  const cut = new Follower(t, dir, NOWHERE);
  t.strictSame(cut.lists.texts, [newer], 'before anybody was asked');
  await cut.lists.follow();
  await until('the failure is told', () => cut.told('device.problem'));
  t.strictSame(cut.lists.texts, [newer]);

  // A service that was put back to an old state, or somebody who plays back its old answer.
  const lying = await RevocationServer.start({ dir }, older);
  t.teardown(() => lying.stop());
  lying.answerAll = true;
  const second = new Follower(t, dir, lying.url);
  await second.lists.follow();
  await until('refused', () => second.told('is older than'));
  t.strictSame(second.lists.texts, [newer]);
  t.equal(readFileSync(second.file, 'latin1'), `${newer}\n`);
  await server.stop();
});

void t.test('a file that somebody has changed counts for nothing, and is told', async (t) => {
  const list = verifier.revocations([revoked('stolen')]);
  const { dir, server } = await served(t, list);
  const first = new Follower(t, dir, server.url);
  await first.lists.follow();
  await until('kept', () => first.told('device.revocations') && first.file.endsWith('.lists'));
  await first.lists.close();
  const { file } = first;
  const other = list.at(-2) === 'A' ? 'B' : 'A';
  writeFileSync(file, `${list.slice(0, -2)}${other}${list.slice(-1)}\n`);
  const second = new Follower(t, dir, NOWHERE);
  t.strictSame(second.lists.texts, []);
  t.ok(second.told(file));
  mkdirSync(join(dir, 'other'));
  t.strictSame(new Follower(t, join(dir, 'other'), NOWHERE).lists.texts, []);
  await server.stop();
});

void t.test('an older list stays beside a newer one that says less', async (t) => {
  const read = (text: string) => ({ text, list: Revocations.open(text, [KEY]) });
  const first = read(verifier.revocations([revoked('a'), revoked('b')]));
  const forgetful = read(verifier.revocations([revoked('b')]));
  const whole = read(verifier.revocations([revoked('a'), revoked('b')]));
  const old = read(verifier.revocations([revoked('c', HOUR_AGO)]));
  t.strictSame(withList([first], forgetful, now), [forgetful, first]);
  t.strictSame(withList([forgetful, first], whole, now), [whole]);
  t.strictSame(withList([old], whole, now), [whole], 'what binds nobody any more is dropped');
  const lowered = read(verifier.revocations([{ device: 'a', epoch: 1, before: 0 }, revoked('b')]));
  t.strictSame(withList([whole], lowered, now), [lowered, whole]);
});

void t.test('the operator hears of a service that is silent, once, and when it is back', async (t) => {
  const { dir, server } = await served(t, verifier.revocations([]));
  const port = Number(new URL(server.url).port);
  await server.stop();
  const follower = new Follower(t, dir, server.url);
  await follower.lists.follow();
  await until('the failure is told', () => follower.told('device.problem'));
  follower.lists.look();
  follower.elapsedMs = 61_000;
  t.equal(follower.lists.silenceMs, 61_000);
  follower.lists.look();
  follower.lists.look();
  t.strictSame(
    follower.events.filter(([event]) => event === 'device.feed_silent'),
    [['device.feed_silent', { issuer, seconds: 61 }]],
  );
  const back = await RevocationServer.start({ dir }, verifier.revocations([revoked('x')]), port);
  await until('heard', () => follower.told('device.feed_heard'));
  t.equal(follower.lists.silenceMs, 0);
  t.equal(follower.events.filter(([event]) => event === 'device.problem').length, 1, 'told once');
  await follower.lists.close();
  t.equal(follower.lists.silenceMs, 0);
  await back.stop();
});
