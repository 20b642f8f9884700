import type { AddressInfo } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import { decodeAnswer, decodeRequest, decodeTrailers } from '../../gateway/link/frame-head.ts';
import { PROVIDER } from './link-pair.ts';
import type { FlatFields, MessageTamper, Mitm, MitmKeys, Tamper } from './mitm.ts';
import {
  answerHead,
  frame,
  FRAME,
  numbers,
  requestHead,
  trailerSection,
  TroadReader,
  type Frame,
} from './troad-frames.ts';

const LIMITS = { headBytes: 32 * 1024, fields: 100 };
const FIRST_CREDIT = 65_536;
type Lines = readonly (readonly [name: string, value: string])[];

/** The same man in the middle as {@link makeMitm}, who speaks `troad/1` to both sides. */
export async function makeTroadMitm(keys: MitmKeys, to: number): Promise<Mitm> {
  const { authority, consumer, provider } = keys;
  const open = new Set<TLSSocket>();
  const swapping: ((end: End, stream: number) => void)[] = [];
  const places: { readonly end: End; readonly stream: number }[] = [];
  const mitm: Mitm & { tamper: Tamper } = {
    port: 0,
    tamper: {},
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };

  /** The answers of two exchanges change places when both are here. */
  const swap = (end: End, stream: number, answer: (end: End, stream: number) => void): void => {
    const place = places.pop();
    const other = swapping.pop();
    if (place === undefined || other === undefined) {
      places.push({ end, stream });
      swapping.push(answer);
      return;
    }
    answer(place.end, place.stream);
    other(end, stream);
  };

  const server = tls.createServer(
    {
      key: provider.keyPem,
      cert: provider.chainPem,
      ca: authority.rootPem,
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: ['troad/1'],
    },
    (accepted) => {
      const onward = tls.connect({
        host: '127.0.0.1',
        port: to,
        servername: PROVIDER,
        ca: authority.rootPem,
        key: consumer.keyPem,
        cert: consumer.chainPem,
        ALPNProtocols: ['troad/1'],
      });
      const down = new End(accepted);
      const up = new End(onward);
      for (const socket of [accepted, onward]) {
        open.add(socket);
        socket.on('close', () => open.delete(socket));
      }
      const requests = new Map<number, Message>();
      const answers = new Map<number, Message>();
      const tampers = new Map<number, Tamper>();
      down.relay(up, requests, (one) => {
        tampers.set(one.stream, mitm.tamper);
        return Message.request(one, up, mitm.tamper.request ?? {});
      });
      up.relay(down, answers, (one) => {
        const tamper = tampers.get(one.stream) ?? {};
        return Message.answer(
          one,
          down,
          tamper.response ?? {},
          tamper.swapAnswers === true ? swap : undefined,
        );
      });
    },
  );
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(mitm, { port: (server.address() as AddressInfo).port }); // it is not a pipe
}

/** One connection, with the credit that its other end gave us. */
class End {
  readonly socket: TLSSocket;
  readonly #credit = new Map<number, number>();
  readonly #waiting = new Map<number, Buffer[]>();

  constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on('error', () => undefined);
  }

  /** Passes on what comes here, messages as `start` makes them. */
  relay(into: End, messages: Map<number, Message>, start: (head: Frame) => Message): void {
    const reader = new TroadReader();
    this.socket.on('data', (bytes: Buffer) => {
      for (const one of reader.push(bytes)) this.#pass(one, into, messages, start);
    });
    this.socket.on('close', () => into.socket.end());
  }

  #pass(one: Frame, into: End, messages: Map<number, Message>, start: (head: Frame) => Message): void {
    const { kind, stream, payload } = one;
    switch (kind) {
      case FRAME.head:
        messages.set(stream, start(one));
        return;
      case FRAME.data:
        this.socket.write(frame(FRAME.credit, stream, numbers(payload.length)));
        messages.get(stream)?.data(payload);
        return;
      case FRAME.trailers:
        messages.get(stream)?.trailers(payload);
        return;
      case FRAME.credit:
        this.#credit.set(stream, this.#creditOf(stream) + payload.readUInt32BE(0));
        this.#send(stream);
        return;
      case FRAME.reset:
        messages.delete(stream);
        into.#waiting.delete(stream);
        into.socket.write(frame(kind, stream, payload));
        return;
      default:
        into.socket.write(frame(kind, stream, payload));
    }
  }

  /** Sends a frame of a message, after those that wait for credit. */
  say(stream: number, bytes: Buffer): void {
    const waiting = this.#waiting.get(stream) ?? [];
    waiting.push(bytes);
    this.#waiting.set(stream, waiting);
    this.#send(stream);
  }

  content(stream: number, bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += 16_384) {
      this.say(stream, frame(FRAME.data, stream, bytes.subarray(at, at + 16_384)));
    }
  }

  #creditOf(stream: number): number {
    return this.#credit.get(stream) ?? FIRST_CREDIT;
  }

  #send(stream: number): void {
    const waiting = this.#waiting.get(stream) ?? [];
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      const cost = next.readUInt8(3) === FRAME.data ? next.length - 8 : 0;
      if (cost > this.#creditOf(stream)) return;
      this.#credit.set(stream, this.#creditOf(stream) - cost);
      this.socket.write(next);
      waiting.shift();
    }
  }
}

type Swap = (end: End, stream: number, answer: (end: End, stream: number) => void) => void;

/** One message on its way through. */
class Message {
  readonly #tamper: MessageTamper;
  /** Sends the head, once the length of the body is known: -1 = trailers end it. */
  readonly #begin: (into: End, stream: number, length: number) => void;
  readonly #into: End;
  readonly #stream: number;
  readonly #length: number | undefined;
  readonly #swap: Swap | undefined;
  readonly #chunks: Buffer[] = [];
  #came = 0;

  private constructor(
    stream: number,
    length: number | undefined,
    into: End,
    tamper: MessageTamper,
    begin: (into: End, stream: number, length: number) => void,
    swap?: Swap,
  ) {
    this.#stream = stream;
    this.#length = length;
    this.#into = into;
    this.#tamper = tamper;
    this.#begin = begin;
    this.#swap = swap;
    if (length === undefined) begin(into, stream, -1);
    else this.#whole();
  }

  static request({ stream, payload }: Frame, into: End, tamper: MessageTamper): Message {
    const head = decodeRequest(payload, 0, payload.length, LIMITS);
    const { method, authority, path, fields, length } = head;
    const flat = [':method', method, ':authority', authority, ':path', path, ...fields.flat()];
    const lines = pairs(tamper.head?.(flat) ?? flat);
    const own = (name: string): string => lines.find(([known]) => known === name)?.[1] ?? '';
    const line = { method: own(':method'), authority: own(':authority'), path: own(':path') };
    return new Message(stream, length, into, tamper, (end, id, bytes) => {
      end.say(id, frame(FRAME.head, id, requestHead(line, bytes, withoutPseudo(lines))));
    });
  }

  static answer({ stream, payload }: Frame, into: End, tamper: MessageTamper, swap?: Swap): Message {
    const { status, fields, length } = decodeAnswer(payload, 0, payload.length, LIMITS);
    const flat = [':status', String(status), ...fields.flat()];
    const lines = pairs(tamper.head?.(flat) ?? flat);
    const changed = Number(lines.find(([name]) => name === ':status')?.[1]);
    const begin = (end: End, id: number, bytes: number): void => {
      end.say(id, frame(FRAME.head, id, answerHead(changed, bytes, withoutPseudo(lines))));
    };
    return new Message(stream, length, into, tamper, begin, swap);
  }

  data(bytes: Buffer): void {
    const changed = this.#tamper.chunk?.(bytes, this.#came) ?? bytes;
    this.#came += bytes.length;
    if (this.#length === undefined) this.#into.content(this.#stream, changed);
    else {
      this.#chunks.push(changed);
      this.#whole();
    }
  }

  trailers(section: Buffer): void {
    if (this.#tamper.append !== undefined) this.#into.content(this.#stream, this.#tamper.append);
    const flat = decodeTrailers(section, 0, section.length, LIMITS).flat();
    // A body cannot end without trailers here: none at all is the nearest thing.
    const changed = this.#tamper.trailers === undefined ? flat : (this.#tamper.trailers(flat) ?? []);
    this.#into.say(this.#stream, frame(FRAME.trailers, this.#stream, trailerSection(pairs(changed))));
  }

  #whole(): void {
    if (this.#came !== this.#length) return;
    const bytes = Buffer.concat([...this.#chunks, this.#tamper.append ?? Buffer.alloc(0)]);
    const send = (end: End, stream: number): void => {
      this.#begin(end, stream, bytes.length);
      end.content(stream, bytes);
    };
    if (this.#swap === undefined) send(this.#into, this.#stream);
    else this.#swap(this.#into, this.#stream, send);
  }
}

function pairs(flat: FlatFields): Lines {
  const lines: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) lines.push([flat[i] ?? '', flat[i + 1] ?? '']);
  return lines;
}

const withoutPseudo = (lines: Lines): Lines => lines.filter(([name]) => !name.startsWith(':'));
