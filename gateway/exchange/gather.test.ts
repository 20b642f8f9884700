import t from 'tap';
import { ScriptedInflow } from '../../conformance/builders/flows.ts';
import type { Inflow, Sink } from '../core/flow.ts';
import { gather, type GatherBounds } from './gather.ts';

const BOUNDS: GatherBounds = { maxBytes: 10, waitMs: 20, idleMs: 40, stalled: 'message.stalled' };

void t.test('no body is whole at once, and nothing is started', async (t) => {
  const inflow = new ScriptedInflow();
  const body = await gather(inflow, 0, BOUNDS);
  t.ok(body.kind === 'whole' && body.bytes.length === 0);
  t.equal(inflow.sink, undefined);
});

void t.test('a body that ends within the bounds is whole', async (t) => {
  for (const length of [undefined, 4]) {
    const inflow = new ScriptedInflow();
    const gathered = gather(inflow, length, BOUNDS);
    inflow.data('ab', 'cd');
    inflow.end([['x', '1']]);
    const body = await gathered;
    t.ok(body.kind === 'whole' && body.bytes.toString() === 'abcd' && body.trailers.length === 1);
  }
});

void t.test('a longer one becomes a stream that loses nothing', async (t) => {
  const inflow = new ScriptedInflow();
  const gathered = gather(inflow, undefined, BOUNDS);
  inflow.data('12345678', '9abc');
  const body = await gathered;
  if (body.kind !== 'stream') throw new Error('not a stream');
  t.ok(inflow.paused);
  inflow.data('d'); // was under way
  const seen: string[] = [];
  body.inflow.start({
    data: (chunk) => seen.push(chunk.toString()),
    end: () => seen.push('end'),
    error: (cause) => seen.push(cause.message),
  });
  t.notOk(inflow.paused);
  inflow.data('e');
  inflow.end();
  t.same(seen, ['12345678', '9abc', 'd', 'e', 'end']);
});

void t.test(
  'a slow one of unknown length becomes a stream; its end or error may come before it is taken',
  async (t) => {
    for (const ending of ['end', 'error'] as const) {
      const inflow = new ScriptedInflow();
      const gathered = gather(inflow, undefined, BOUNDS);
      inflow.data('ab');
      const body = await gathered;
      if (body.kind !== 'stream') throw new Error('not a stream');
      if (ending === 'end') inflow.end();
      else inflow.error(new Error('cut'));
      const seen: string[] = [];
      body.inflow.start({
        data: (chunk) => seen.push(chunk.toString()),
        end: () => seen.push('end'),
        error: () => seen.push('error'),
      });
      t.same(seen, ['ab', ending]);
    }
  },
);

void t.test('a known length above the bounds is not started here', async (t) => {
  const inflow = new ScriptedInflow();
  const body = await gather(inflow, 11, BOUNDS);
  t.ok(body.kind === 'stream' && body.inflow === inflow && inflow.sink === undefined);
});

void t.test('a known length that does not come is refused, and the sender cut off', async (t) => {
  const inflow = new ScriptedInflow();
  await t.rejects(async () => gather(inflow, 5, BOUNDS), { code: 'message.stalled' });
  t.ok(inflow.destroyed);
});

void t.test('a broken body is no body', async (t) => {
  const inflow = new ScriptedInflow();
  const gathered = gather(inflow, 5, BOUNDS);
  inflow.data('ab');
  inflow.error(new Error('cut'));
  await t.rejects(async () => gathered, { message: 'cut' });
});

void t.test('a body that came with its head is here at once, and so is one that broke', async (t) => {
  const here = (end: (sink: Sink) => void): Inflow => ({
    start: (sink) => {
      sink.data(Buffer.from('a'));
      sink.data(Buffer.from('b'));
      end(sink);
    },
    pause: () => undefined,
    resume: () => undefined,
    destroy: () => t.fail('destroyed'),
  });
  const whole = gather(
    here((sink) => sink.end([['x', '1']])),
    undefined,
    BOUNDS,
  );
  t.match(whole, { kind: 'whole', bytes: Buffer.from('ab'), trailers: [['x', '1']] });
  t.notOk(whole instanceof Promise);
  const broken = here((sink) => sink.error(new Error('cut')));
  await t.rejects(async () => gather(broken, 5, BOUNDS), { message: 'cut' });
});
