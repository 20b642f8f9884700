import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { bundleDir } from '../gateway/sandbox/bundle.ts';
import { Sandbox } from '../gateway/sandbox/sandbox.ts';
import {
  dropField,
  dropTrailers,
  extendWith,
  flipByteAt,
  makeMitm,
  replaceBody,
  setField,
  truncateAt,
  type MessageTamper,
  type Mitm,
} from './builders/mitm.ts';
import { makeTroadMitm } from './builders/troad-mitm.ts';
import { LogTail } from './harness/log-tail.ts';
import { PLAIN_NODE } from './harness/plain-node.ts';

// Between the gateways sits somebody who holds the TLS keys of both: only the message signatures are left. Nothing that
// is changed on the way may reach the other side as a complete message, and both logs have to say what happened.

interface Outcome {
  readonly id: string;
  /** The client's HTTP library took the answer for complete. */
  readonly complete: boolean;
  readonly status: number;
  readonly body: Buffer;
}

const SIZES = { full: 3000, stream: 300_000 } as const;
const bodyOf = (size: number): Buffer => Buffer.alloc(size, 'troad-');

const tampers = (size: number): fc.Arbitrary<readonly [name: string, tamper: MessageTamper]> =>
  fc.oneof(
    fc.nat(size - 1).map((at) => [`flip byte ${at}`, flipByteAt(at)] as const),
    fc.constantFrom(0, 1, size - 1, size >> 1).map((at) => [`truncate at ${at}`, truncateAt(at)] as const),
    fc.constant(['extend', extendWith(Buffer.from('x'))] as const),
    fc.constant(['replace', replaceBody(Buffer.alloc(size, 'forged'))] as const),
  );

for (const [link, makeMiddle] of [
  ['h2', makeMitm],
  ['troad/1', makeTroadMitm],
] as const) {
  await t.test(`over ${link}`, async (t) => {
    const dir = t.testdir({});
    let mitm: Mitm | undefined;
    const sandbox = await Sandbox.start({
      dir,
      run: [...PLAIN_NODE, fileURLToPath(new URL('../gateway/cli.ts', import.meta.url)), 'run'],
      bundle: bundleDir(),
      now: Date.now,
      async linkVia(port) {
        const identity = (agency: string) => ({
          keyPem: readFileSync(`${dir}/agencies/${agency}/link.key`, 'utf8'),
          chainPem: readFileSync(`${dir}/agencies/${agency}/link.pem`, 'utf8'),
        });
        const rootPem = readFileSync(`${dir}/agencies/a11/ca.pem`, 'utf8');
        mitm = await makeMiddle(
          { authority: { rootPem }, consumer: identity('a11'), provider: identity('b07') },
          port,
        );
        return mitm.port;
      },
    });
    const middle: Mitm | undefined = mitm; // set by linkVia
    if (middle === undefined) throw new Error('the sandbox did not ask where its link goes');

    const { consumer, provider, service } = sandbox.ready;
    const logs = { a: new LogTail(consumer.log), b: new LogTail(provider.log) };
    let ids = 0;

    async function exchange(method: string, path: string, body?: Buffer): Promise<Outcome> {
      const id = `tamper-${ids++}`;
      const headers = { 'X-Road-Client': 'TW/GOV/A11/welfare', 'X-Road-Id': id };
      try {
        const answer = await fetch(`${consumer.url}/r1/TW/GOV/B07/housing${path}`, {
          method,
          headers,
          ...(body === undefined ? {} : { body }),
        });
        try {
          return { id, complete: true, status: answer.status, body: Buffer.from(await answer.arrayBuffer()) };
        } catch {
          return { id, complete: false, status: answer.status, body: Buffer.alloc(0) };
        }
      } catch {
        return { id, complete: false, status: 0, body: Buffer.alloc(0) };
      }
    }

    const seenComplete = async (): Promise<number> => {
      const answer = await fetch(`${service.url}/__seen`);
      return ((await answer.json()) as { complete: number }).complete; // our own service's answer
    };

    /** What both logs say last of one exchange. */
    async function said(id: string): Promise<readonly [a: string | undefined, b: string | undefined]> {
      for (let tries = 0; ; tries++) {
        const outs = await Promise.all(
          [logs.a, logs.b].map(async (log) => {
            const records = (await log.records()).filter((record) => 'xid' in record && record.xid === id);
            const last = records.at(-1);
            return last !== undefined && 'out' in last && last.k !== 'open' && last.k !== 'req.final'
              ? last.out
              : undefined;
          }),
        );
        const [a, b] = outs;
        if ((a !== undefined && b !== undefined) || tries > 1500) return [a, b];
        await delay(20);
      }
    }

    await t.test('an untouched exchange passes through the middle', async (t) => {
      for (const size of Object.values(SIZES)) {
        const { status, complete } = await exchange('PUT', '/files/x', bodyOf(size));
        t.ok(status === 200 && complete, `${size} bytes up`);
        const down = await exchange('GET', `/files/${size}`);
        t.ok(down.complete && down.body.length === size, `${size} bytes down`);
      }
    });

    for (const [mode, size] of Object.entries(SIZES)) {
      await t.test(`a changed request never reaches the service as complete (${mode} mode)`, async () => {
        await fc.assert(
          fc.asyncProperty(tampers(size), async ([name, request]) => {
            const before = await seenComplete();
            middle.tamper = { request };
            const outcome = await exchange('PUT', '/files/x', bodyOf(size));
            middle.tamper = {};
            if (outcome.complete && outcome.status < 400)
              throw new Error(`${name}: client saw ${outcome.status}`);
            await delay(5);
            if ((await seenComplete()) !== before)
              throw new Error(`${name}: the service took it for complete`);
            const [a, b] = await said(outcome.id);
            // B knows why; A is told by B's signed refusal, or sees the link break.
            if (b === undefined || b === 'ok') throw new Error(`${name}: B's log says ${b}`);
            if (a === undefined) throw new Error(`${name}: A's log says nothing`);
          }),
          { numRuns: 16 },
        );
      });

      await t.test(`a changed answer never reaches the client as complete (${mode} mode)`, async () => {
        await fc.assert(
          fc.asyncProperty(tampers(size), async ([name, response]) => {
            middle.tamper = { response };
            const outcome = await exchange('GET', `/files/${size}`);
            middle.tamper = {};
            if (outcome.complete && outcome.status < 400)
              throw new Error(`${name}: the client took it for complete`);
            const [a, b] = await said(outcome.id);
            if (a === undefined || a === 'ok') throw new Error(`${name}: A's log says ${a}`);
            if (b === undefined) throw new Error(`${name}: B's log says nothing`);
          }),
          { numRuns: 16 },
        );
      });
    }

    await t.test('heads, trailers and answers of others are refused', async (t) => {
      const rows: [string, Mitm['tamper'], 'full' | 'stream'][] = [
        ['request without trailers', { request: dropTrailers }, 'stream'],
        ['answer without trailers', { response: dropTrailers }, 'stream'],
        ['another field value', { request: setField('accept', 'text/plain') }, 'full'],
        ['another path', { request: setField(':path', '/r1/TW/GOV/B07/housing/files/other') }, 'stream'],
        ['another status', { response: setField(':status', '201') }, 'full'],
        ['answer without its signature', { response: dropField('signature') }, 'full'],
        ['request without its signature', { request: dropField('signature') }, 'full'],
      ];
      for (const [what, tamper, mode] of rows) {
        middle.tamper = tamper;
        const up = tamper.request !== undefined || mode === 'full';
        const outcome = up
          ? await exchange('PUT', '/files/x', bodyOf(SIZES[mode]))
          : await exchange('GET', `/files/${SIZES[mode]}`);
        middle.tamper = {};
        t.notOk(outcome.complete && outcome.status < 400, what);
      }
      middle.tamper = { swapAnswers: true };
      const [one, other] = await Promise.all([exchange('GET', '/echo/one'), exchange('GET', '/echo/two')]);
      middle.tamper = {};
      t.notOk(one.status === 200 || other.status === 200, 'answers that were swapped');
      t.equal((await exchange('GET', '/echo/after')).status, 200, 'the next exchange works');
    });

    // A teardown would wait for the processes that it is to end.
    await t.test('both gateways end well', async () => {
      await middle.close();
      await sandbox.stop();
    });
  });
}
