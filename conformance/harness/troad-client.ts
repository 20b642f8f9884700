import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { decodeAnswer } from '../../gateway/link/frame-head.ts';
import {
  frame,
  FRAME,
  hello,
  numbers,
  requestHead,
  trailerSection,
  TroadReader,
} from '../builders/troad-frames.ts';
import type { Outcome } from './expectations.ts';
import { PATIENT, type Ending, type LinkSession, type Patience } from './link-client.ts';
import type { LinkRequest, StolenKeys } from './link-request.ts';

const FIRST_CREDIT = 65_536;
const LIMITS = { headBytes: 65_535, fields: 255 };

/** The attacker's session of link-client.ts, over `troad/1`. */
export async function openTroadSession(link: string, keys: StolenKeys): Promise<LinkSession> {
  const [host, port] = link.split(':');
  const socket = connect({
    host: host ?? '',
    port: Number(port),
    ...keys.tls,
    servername: keys.provider,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['troad/1'],
  });
  socket.on('error', () => undefined); // a broken session shows in its streams
  await once(socket, 'secureConnect');
  socket.write(hello());
  const reader = new TroadReader();
  const streams = new Map<number, Answer>();
  socket.on('data', (bytes: Buffer) => {
    for (const { kind, stream, payload } of reader.push(bytes)) {
      streams.get(stream)?.frame(kind, payload);
      if (kind === FRAME.data) socket.write(frame(FRAME.credit, stream, numbers(payload.length)));
    }
  });
  const gone = new Promise<'closed'>((resolve) => {
    socket.once('close', () => {
      resolve('closed');
    });
  });
  let last = 0;
  return {
    destroy: () => void socket.destroy(),
    async send(request, ending, patience = PATIENT) {
      const { waitMs } = patience;
      const stream = ++last;
      const answer = new Answer();
      streams.set(stream, answer);
      const sent = sendRequest(socket, stream, request, ending, answer, patience);
      // Longer than usual, when the request is: it goes on as the other side gives credit.
      await Promise.race([sent, gone, delay(10 * waitMs, undefined, { ref: false })]);
      const how = await Promise.race([answer.over, gone, delay(waitMs, 'late' as const, { ref: false })]);
      return { answers: answer.seen, closed: how !== 'late' && !answer.complete };
    },
  };
}

async function sendRequest(
  socket: TLSSocket,
  stream: number,
  request: LinkRequest,
  ending: Ending,
  answer: Answer,
  { seen }: Patience,
): Promise<void> {
  const { method, path, authority, fields, body, length, trailers } = request;
  const streamed = length === undefined && trailers !== undefined;
  // A tidy sender announces what it sends, tampered with or not: only then it is for the signature to tell.
  const announced = streamed ? -1 : ending === 'tidy' ? body.length : (length ?? body.length);
  socket.write(frame(FRAME.head, stream, requestHead({ method, authority, path }, announced, fields)));
  for (let at = 0; at < body.length; at += 16_384) {
    const part = body.subarray(at, at + 16_384);
    await answer.credit(part.length);
    socket.write(frame(FRAME.data, stream, part));
  }
  if (ending === 'tidy') {
    if (streamed) socket.write(frame(FRAME.trailers, stream, trailerSection(trailers)));
    return;
  }
  await seen();
  if (ending === 'disconnect') socket.destroy();
  else socket.write(frame(FRAME.reset, stream, numbers(ending === 'reset' ? 5 : 1)));
}

/** What comes back on one stream. */
class Answer {
  readonly over: Promise<'over'>;
  complete = false;
  #status: number | undefined;
  #fields: Outcome['answers'][number]['fields'] = [];
  readonly #body: Buffer[] = [];
  #left: number | undefined;
  #end!: (over: 'over') => void;
  #credit = FIRST_CREDIT;
  #onCredit: () => void = () => undefined;

  constructor() {
    this.over = new Promise((resolve) => (this.#end = resolve));
  }

  get seen(): Outcome['answers'] {
    if (this.#status === undefined) return [];
    const { complete } = this;
    return [{ status: this.#status, fields: this.#fields, body: Buffer.concat(this.#body), complete }];
  }

  /** Waits until so many bytes may be sent. */
  async credit(bytes: number): Promise<void> {
    while (this.#credit < bytes) await new Promise<void>((resolve) => (this.#onCredit = resolve));
    this.#credit -= bytes;
  }

  frame(kind: number, payload: Buffer): void {
    if (kind === FRAME.credit) {
      this.#credit += payload.readUInt32BE(0);
      this.#onCredit();
    }
    if (kind === FRAME.head) {
      const { status, fields, length } = decodeAnswer(payload, 0, payload.length, LIMITS);
      this.#status = status;
      this.#fields = fields;
      this.#left = length;
    } else if (kind === FRAME.data) {
      this.#body.push(payload);
      if (this.#left !== undefined) this.#left -= payload.length;
    } else if (kind !== FRAME.trailers && kind !== FRAME.reset) return;
    if (kind === FRAME.trailers || this.#left === 0) this.complete = true;
    if (kind === FRAME.reset || this.complete) this.#end('over');
  }
}
