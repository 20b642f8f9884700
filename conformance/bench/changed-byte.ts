/**
 * Somebody on the wire between the gateways changes one byte, in each direction, of small messages and of large ones. No
 * answer may come of it: a pair that is fast because it does not look would be found out here.
 */
import { makeCutProxy, type CutProxy, type Direction } from '../builders/cut-proxy.ts';
import { LogTail } from '../harness/log-tail.ts';
import { sandboxOptions } from '../../gateway/commands/sandbox.ts';
import { Sandbox } from '../../gateway/sandbox/sandbox.ts';
import { ECHO_BODY } from './backend.ts';
import { PART_BYTES, type Lab } from './lab.ts';
import { keep, ON_DISK, remove, temporaryFolder } from './leftovers.ts';
import type { Door, Gate, Target } from './subjects/subject.ts';
import { CLIENT_FIELD } from './user-load.ts';

/** A way from client to service with a wire in it that can be tampered with. */
export interface Way {
  readonly wire: CutProxy;
  /** @param id marks the exchange, to be found in the logs */
  readonly target: (door: Door, path: string, id: string) => Target;
  /** Ends the way. @returns which ids either log calls a completed exchange: of the near end, of the far end */
  readonly close: () => Promise<readonly [near: ReadonlySet<string>, far: ReadonlySet<string>]>;
}

interface Heard {
  /** Undefined: no answer at all. */
  readonly status: number | undefined;
  /** The answer came to its end. */
  readonly complete: boolean;
  /** As far as they came, its bytes were the service's. */
  readonly same: boolean;
}

/** @param expected content of the answer */
async function ask({ url, headers }: Target, expected: Buffer, request: RequestInit): Promise<Heard> {
  let status: number | undefined;
  let bytes = 0;
  let same = true;
  try {
    const answer = await fetch(url, { ...request, headers });
    ({ status } = answer);
    for await (const chunk of answer.body ?? []) {
      const end = bytes + chunk.length;
      same &&= end <= expected.length && expected.compare(chunk, 0, chunk.length, bytes, end) === 0;
      bytes = end;
    }
  } catch {
    return { status, complete: false, same };
  }
  return { status, complete: true, same: same && bytes === expected.length };
}

interface Change {
  readonly what: string;
  readonly direction: Direction;
  /** So many bytes pass before. */
  readonly after: number;
  readonly exchange: (way: Way, id: string, part: Buffer) => Promise<Heard>;
}

const post: Change['exchange'] = (way, id) =>
  ask(way.target('bench', '/echo', id), ECHO_BODY, { method: 'POST', body: ECHO_BODY });
const get: Change['exchange'] = (way, id, part) => ask(way.target('bench', '/part', id), part, {});
/** The service answers how much it got: never nothing. */
const put: Change['exchange'] = (way, id, part) =>
  ask(way.target('sink', '/swallow', id), Buffer.alloc(0), { method: 'PUT', body: new Uint8Array(part) });

const MIDST = PART_BYTES / 2;
const CHANGES: readonly Change[] = [
  { what: 'a request', direction: 'up', after: 64, exchange: post },
  { what: 'an answer', direction: 'down', after: 64, exchange: post },
  { what: 'an upload', direction: 'up', after: MIDST, exchange: put },
  { what: 'a download', direction: 'down', after: MIDST, exchange: get },
];

/**
 * Changes bytes on the way and judges what client and logs were told.
 * @param part the file behind `/part`
 */
export async function changeBytes(name: string, way: Way, part: Buffer): Promise<readonly Gate[]> {
  const gates = new Map<string, Gate & { readonly direction: Direction }>();
  for (const [index, { what, direction, after, exchange }] of CHANGES.entries()) {
    const id = `changed-${index}`;
    const { passed } = way.wire;
    // First over the same wire untouched: there is a connection to tamper with, and it is here.
    const start = passed[direction];
    const { status: usual, complete: whole, same: right } = await post(way, `untouched-${index}`, part);
    const carries = usual === 200 && whole && right && passed[direction] > start;
    const from = passed[direction];
    way.wire.plan({ direction, after, how: 'flip' });
    const { status, complete, same } = await exchange(way, id, part);
    const changed = passed[direction] - from > after;
    const refused = status !== 200 || (!complete && same);
    const told = `status ${status ?? 'none'}, ${complete ? 'complete' : 'broken off'}, ${same ? 'no' : 'some'} other bytes`;
    gates.set(id, {
      name: `${name}: a byte of ${what} changed between the gateways gives no answer`,
      passed: carries && changed && refused,
      detail: `${carries ? '' : 'the wire carried nothing before, '}${changed ? '' : 'nothing was changed, '}${told}`,
      direction,
    });
  }
  const [near, far] = await way.close();
  return Array.from(gates, ([id, { direction, ...gate }]) => {
    // An answer that is changed on its way was complete when it left.
    const whose = [...(near.has(id) ? ['near'] : []), ...(far.has(id) && direction === 'up' ? ['far'] : [])];
    if (whose.length === 0) return gate;
    const detail = `${gate.detail}; completed, says the log of the ${whose.join(' and the ')} gateway`;
    return { ...gate, passed: false, detail };
  });
}

/** The exchanges that a log, read when its gateway has ended, calls completed. */
async function completedIn(log: string): Promise<ReadonlySet<string>> {
  const records = await new LogTail(log).records();
  return new Set(
    records.flatMap((record) => (record.k === 'res.final' && record.out === 'ok' ? (record.xid ?? []) : [])),
  );
}

/** Our pair once more, as `troad sandbox` starts it, with a wire in between: the one under test has none. */
export async function changedBytesOfOurs({ backend, payload }: Lab): Promise<readonly Gate[]> {
  const dir = temporaryFolder(ON_DISK);
  const linked = Promise.withResolvers<CutProxy>();
  let sandbox: Sandbox | undefined;
  try {
    sandbox = await Sandbox.start({
      ...(await sandboxOptions(dir, false)),
      extra: [
        { code: 'bench', url: backend.benchUrl },
        { code: 'sink', url: backend.sinkUrl },
      ],
      linkVia: async (port) => {
        const wire = await makeCutProxy(port);
        linked.resolve(wire);
        return wire.port;
      },
    });
    const { ready } = sandbox;
    const wire = await linked.promise;
    const way: Way = {
      wire,
      target: (door, path, id) => ({
        url: `${ready.consumer.url}/r1/TW/GOV/B07/housing/${door}${path}`,
        headers: { ...CLIENT_FIELD, 'X-Road-Id': id },
      }),
      close: async () => {
        await sandbox?.stop();
        sandbox = undefined;
        await wire.close();
        return [await completedIn(ready.consumer.log), await completedIn(ready.provider.log)];
      },
    };
    const gates = await changeBytes('troad', way, payload.bytes.subarray(0, PART_BYTES));
    if (gates.every(({ passed }) => passed)) {
      remove(dir);
      return gates;
    }
    keep(dir);
    return gates.map((gate) => ({ ...gate, detail: `${gate.detail}; the logs are kept in ${dir}` }));
  } finally {
    await sandbox?.stop();
  }
}
