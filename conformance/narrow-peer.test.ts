import { once } from 'node:events';
import { connect } from 'node:tls';
import t from 'tap';
import {
  frame,
  FRAME,
  hello,
  requestHead,
  trailerSection,
  TroadReader,
  type Frame,
} from './builders/troad-frames.ts';
import { linkRequest, stolenKeys, type LinkRequest } from './harness/link-request.ts';
import { LogTail } from './harness/log-tail.ts';
import { exchange, newFolder, startRoad } from './harness/road.ts';

// A registered gateway whose greeting says that it takes hardly anything in a head. What cannot be sent to it ends its
// own exchange: a refusal that nobody could send, and that nobody had expected to fail, once ended the whole worker.

const { sandbox, ready, lines } = await startRoad(newFolder(t), 1);
const keys = stolenKeys({ ready } as Parameters<typeof stolenKeys>[0]); // only its folder is asked for
const [host = '', port] = ready.provider.link.split(':');

/** Sends one request and waits until its stream, or the connection, is over. @returns the frames that came back */
async function ask(
  headBytes: number,
  fields: number,
  { method, path, authority, fields: sent, body, trailers }: LinkRequest,
): Promise<readonly Frame[]> {
  const socket = connect({
    ...keys.tls,
    host,
    port: Number(port),
    servername: keys.provider,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['troad/1'],
  });
  socket.on('error', () => undefined); // shows as the end
  await once(socket, 'secureConnect');
  const frames: Frame[] = [];
  const reader = new TroadReader();
  const over = new Promise<void>((resolve) => {
    socket.once('close', resolve);
    socket.on('data', (bytes: Buffer) => {
      frames.push(...reader.push(bytes));
      const ends: readonly number[] = [FRAME.reset, FRAME.trailers];
      if (frames.some(({ kind }) => ends.includes(kind))) resolve();
    });
  });
  const streamed = trailers !== undefined;
  const head = requestHead({ method, path, authority }, streamed ? -1 : body.length, sent);
  socket.write(
    Buffer.concat([
      hello(256, headBytes, fields),
      frame(FRAME.head, 1, head),
      ...(body.length > 0 ? [frame(FRAME.data, 1, body)] : []),
      ...(streamed ? [frame(FRAME.trailers, 1, trailerSection(trailers))] : []),
    ]),
  );
  await over;
  socket.destroy();
  return frames.filter(({ stream }) => stream === 1);
}

const message = (path: string): LinkRequest =>
  linkRequest({ method: 'GET', path, body: '' }, keys, Date.now());
const ECHO = '/r1/TW/GOV/B07/housing/echo';

for (const [what, headBytes, fields, request] of [
  ['a refusal, to a peer that takes no bytes', 0, 255, () => ({ ...message(ECHO), fields: [] })],
  ['a signed refusal, to a peer that takes few fields', 65_535, 1, () => message(`${ECHO}%00`)],
  ['an answer, to a peer that takes few fields', 65_535, 3, () => message(ECHO)],
] as const) {
  await t.test(what, async (t) => {
    const frames = await ask(headBytes, fields, request());
    t.same(
      frames.map(({ kind }) => kind),
      [FRAME.reset],
      'the exchange is broken off',
    );
    t.equal((await exchange(ready, '/echo')).status, 200, 'the others go on');
    t.notOk(
      lines.some(({ line }) => line.event === 'worker.lost'),
      'no worker ended',
    );
  });
}

await t.test('what was begun and broken off stands in the log', async (t) => {
  const records = await new LogTail(ready.provider.log).records();
  t.ok(
    records.some(({ k }) => k === 'abort'),
    records.map(({ k }) => k).join(),
  );
  await sandbox.stop();
});
