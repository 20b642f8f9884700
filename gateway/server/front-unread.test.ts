import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import t from 'tap';
import { attached, echo, GET, lab } from '../../conformance/builders/front-lab.ts';
import {
  END_HEADERS,
  END_STREAM,
  fieldSection,
  frame,
  FRAME,
  PREFACE,
} from '../../conformance/builders/h2-frames.ts';
import { connect } from '../../conformance/harness/raw-socket.ts';
import { Authority } from '../../pki/authority.ts';

// Clients that ask and do not read. What is kept for them is bounded, in bytes and in time.

const authority = await Authority.create('front unread test', () => Date.now());
const { keyPem: key, chainPem: cert } = await authority.issueServer();

const MANY = 1500;
const ANSWER = Buffer.alloc(60_000, 'a');

for (const secure of [false, true]) {
  void t.test(
    `${secure ? 'HTTPS' : 'HTTP'}: who does not read its answers gets no more of them`,
    async (t) => {
      let arrived = 0;
      const { target } = await lab(
        t,
        (arrival) => {
          arrived += 1;
          arrival.answer({ status: 200, fields: [] }, { kind: 'whole', bytes: ANSWER }).attach(attached);
        },
        {},
        secure ? { key, cert } : undefined,
      );
      const socket = await connect(target);
      socket.pause();
      let asked = 0;
      // A machine that is too busy to answer ends this early; only answers without end would fail.
      for (let stalled = false; asked < MANY && !stalled;) {
        socket.write(GET);
        asked += 1;
        for (let waited = 0; arrived < asked && !stalled; waited += 1) {
          stalled = waited === 300;
          await delay(1);
        }
      }
      t.ok(arrived < MANY, `${arrived} answers of ${ANSWER.length} bytes, unread`);
      let received = 0;
      socket.on('data', (chunk: Buffer) => (received += chunk.length));
      socket.resume();
      while (received < asked * ANSWER.length) await delay(2);
      t.equal(arrived, asked, 'who reads on is served on');
      socket.destroy();
    },
  );
}

for (const [what, method] of [
  ['a refusal', 'TRACE'],
  ['an answer', 'GET'],
] as const) {
  void t.test(`HTTP/2: ${what} that finds no window does not keep the connection for ever`, async (t) => {
    const { target, front } = await lab(t, echo, { idleMs: 500, headMs: 500 }, { key, cert });
    const socket = connectTls({ ...target, ca: authority.rootPem, ALPNProtocols: ['h2'] });
    socket.on('error', () => undefined); // the front ends it, one way or the other
    await once(socket, 'secureConnect');
    const noWindow = Buffer.from([0, 4, 0, 0, 0, 0]); // SETTINGS_INITIAL_WINDOW_SIZE = 0
    const head = fieldSection([
      [':method', method],
      [':scheme', 'https'],
      [':authority', 'gw'],
      [':path', '/r1'],
    ]);
    socket.write(
      Buffer.concat([
        PREFACE,
        frame(FRAME.settings, 0, 0, noWindow),
        frame(FRAME.headers, END_HEADERS | END_STREAM, 1, head),
      ]),
    );
    socket.resume();
    await once(socket, 'close');
    while (front.connections > 0) await delay(2);
    t.pass('it ended');
  });
}
