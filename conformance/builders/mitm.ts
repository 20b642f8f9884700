import http2, {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2SecureServer,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { PROVIDER } from './link-pair.ts';

/**
 * A man in the middle that holds the TLS keys of both gateways: the case in which only the message signatures are left.
 * It speaks HTTP/2 to both sides and changes what it is told to; everything else passes as it came.
 */
export interface Mitm {
  readonly port: number;
  /** Set before a call; applies to every exchange that starts after. */
  tamper: Tamper;
  close(): Promise<void>;
}

export interface Tamper {
  readonly request?: MessageTamper;
  readonly response?: MessageTamper;
  /** The next two exchanges get each other's answer. */
  readonly swapAnswers?: boolean;
}

/** Fields as a flat list: name, value, name, value, … */
export type FlatFields = readonly string[];

export interface MessageTamper {
  /** Pseudo-header fields included. `content-length` is set again afterwards where there was one. */
  readonly head?: (head: FlatFields) => FlatFields;
  /** Called for each chunk with its offset in the body. */
  readonly chunk?: (chunk: Buffer, offset: number) => Buffer;
  /** Bytes behind the body. */
  readonly append?: Buffer;
  /** Undefined: the body ends tidily without trailers. */
  readonly trailers?: (trailers: FlatFields) => FlatFields | undefined;
}

export const flipByteAt = (at: number): MessageTamper => ({
  chunk(chunk, offset) {
    if (at < offset || at >= offset + chunk.length) return chunk;
    const changed = Buffer.from(chunk);
    changed[at - offset] = (changed[at - offset] ?? 0) ^ 0x01;
    return changed;
  },
});

export const truncateAt = (length: number): MessageTamper => ({
  chunk: (chunk, offset) => chunk.subarray(0, Math.max(0, length - offset)),
});

export const extendWith = (bytes: Buffer): MessageTamper => ({ append: bytes });

/** Another body in place of the sent one. */
export const replaceBody = (bytes: Buffer): MessageTamper => ({
  chunk: () => Buffer.alloc(0),
  append: bytes,
});

export const dropTrailers: MessageTamper = { trailers: () => undefined };

export const dropField = (name: string): MessageTamper => ({ head: (flat) => without(flat, name) });

export const setField = (name: string, value: string): MessageTamper => ({
  head: (flat) => flat.map((text, i) => (i % 2 === 1 && flat[i - 1] === name ? value : text)),
});

function without(flat: FlatFields, name: string): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    if (flat[i] !== name) kept.push(flat[i] ?? '', flat[i + 1] ?? '');
  }
  return kept;
}

/** What it takes: the keys of both gateways and the anchors they trust. */
export interface MitmKeys {
  readonly authority: { readonly rootPem: string };
  readonly consumer: { readonly keyPem: string; readonly chainPem: string };
  readonly provider: { readonly keyPem: string; readonly chainPem: string };
}

/** Node would add a `Date` of its own. The types do not know the option. */
const NO_DATE: object = { sendDate: false };

interface Waiting {
  readonly down: ServerHttp2Stream;
  readonly up: ClientHttp2Stream;
}

/** @param to port of the real provider's link on 127.0.0.1 */
export async function makeMitm(gateways: MitmKeys, to: number): Promise<Mitm> {
  const { authority, consumer, provider } = gateways;
  const settings = { initialWindowSize: 512 * 1024, enablePush: false };
  let session: ClientHttp2Session | undefined;
  // When it is needed: the provider may start later than we do, or again.
  const up = (): ClientHttp2Session => {
    if (session === undefined || session.destroyed || session.closed) {
      session = http2.connect(`https://127.0.0.1:${to}`, {
        servername: PROVIDER,
        ca: authority.rootPem,
        key: consumer.keyPem,
        cert: consumer.chainPem,
        settings,
      });
      session.on('error', () => undefined);
    }
    return session;
  };
  const server: Http2SecureServer = http2.createSecureServer({
    key: provider.keyPem,
    cert: provider.chainPem,
    ca: authority.rootPem,
    requestCert: true,
    rejectUnauthorized: true,
    settings,
  });
  server.on('sessionError', () => undefined);
  server.on('session', (accepted) => {
    sessions.add(accepted);
    accepted.on('close', () => sessions.delete(accepted));
    accepted.on('error', () => undefined);
  });
  const sessions = new Set<http2.ServerHttp2Session>();
  const swapping: Waiting[] = [];

  const mitm: Mitm & { tamper: Tamper } = {
    port: 0,
    tamper: {},
    async close() {
      session?.destroy();
      for (const accepted of sessions) accepted.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };

  server.on('stream', (down: ServerHttp2Stream, _fields: object, flags: number, flat: string[]) => {
    const { tamper } = mitm;
    const changed = tamper.request?.head?.(flat) ?? flat;
    const endsWithHead = (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    const whole = lengthOf(flat) !== undefined;
    const request = (head: FlatFields, endStream: boolean, waitForTrailers: boolean): ClientHttp2Stream => {
      const onward = up().request([...head], { endStream, waitForTrailers });
      couple(down, onward);
      relayAnswer(onward, down, tamper);
      return onward;
    };
    if (endsWithHead && tamper.request?.append === undefined) {
      request(changed, true, false);
      down.resume();
    } else if (whole || endsWithHead) {
      void collect(down, tamper.request).then((bytes) => {
        request(withLength(changed, bytes.length), false, false).end(bytes);
      });
    } else {
      stream(down, request(changed, false, true), tamper.request);
    }
  });

  /** The answer of `from` goes to `into`, or to the other one of a swapped pair. */
  function relayAnswer(from: ClientHttp2Stream, into: ServerHttp2Stream, tamper: Tamper): void {
    if (tamper.swapAnswers !== true) {
      answer(from, into, tamper.response);
      return;
    }
    const other = swapping.pop();
    if (other === undefined) {
      swapping.push({ down: into, up: from });
      return;
    }
    answer(from, other.down, tamper.response);
    answer(other.up, into, tamper.response);
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(mitm, { port: (server.address() as AddressInfo).port }); // it is not a pipe
}

function answer(from: ClientHttp2Stream, into: ServerHttp2Stream, tamper: MessageTamper | undefined): void {
  from.on('response', (_fields, flags, raw) => {
    const flat: FlatFields = raw;
    const changed = tamper?.head?.(flat) ?? flat;
    if (into.destroyed) return;
    if ((flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0 && tamper?.append === undefined) {
      into.respond([...changed], { endStream: true, ...NO_DATE });
    } else if (lengthOf(flat) !== undefined) {
      void collect(from, tamper).then((bytes) => {
        if (into.destroyed) return;
        into.respond(withLength(changed, bytes.length), NO_DATE);
        into.end(bytes);
      });
    } else {
      into.respond([...changed], { waitForTrailers: true, ...NO_DATE });
      stream(from, into, tamper);
    }
  });
}

type Either = ClientHttp2Stream | ServerHttp2Stream;

/** A break on one side is a break on the other. */
function couple(a: Either, b: Either): void {
  const pass = (from: Either, into: Either): void => {
    from.on('error', () => into.destroy(new Error('broken on the other side')));
    from.on('close', () => {
      if (from.rstCode !== 0) into.destroy(new Error('broken on the other side'));
    });
  };
  pass(a, b);
  pass(b, a);
}

async function collect(from: Either, tamper: MessageTamper | undefined): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let offset = 0;
  return new Promise((resolve) => {
    from.on('data', (chunk: Buffer) => {
      chunks.push(tamper?.chunk?.(chunk, offset) ?? chunk);
      offset += chunk.length;
    });
    from.on('end', () => resolve(Buffer.concat([...chunks, tamper?.append ?? Buffer.alloc(0)])));
  });
}

function stream(from: Either, into: Either, tamper: MessageTamper | undefined): void {
  let offset = 0;
  let trailers: FlatFields = [];
  from.on('trailers', (_fields, _flags, raw) => (trailers = raw));
  from.on('data', (chunk: Buffer) => {
    const bytes = tamper?.chunk?.(chunk, offset) ?? chunk;
    offset += chunk.length;
    if (bytes.length > 0 && !into.destroyed && !into.write(bytes)) from.pause();
  });
  into.on('drain', () => from.resume());
  into.on('wantTrailers', () => {
    const sent = tamper?.trailers === undefined ? trailers : (tamper.trailers(trailers) ?? []);
    into.sendTrailers(Object.fromEntries(pairs(sent)));
  });
  from.on('end', () => {
    if (into.destroyed) return;
    if (tamper?.append === undefined) into.end();
    else into.end(tamper.append);
  });
}

function* pairs(flat: FlatFields): Generator<[string, string]> {
  for (let i = 0; i + 1 < flat.length; i += 2) yield [flat[i] ?? '', flat[i + 1] ?? ''];
}

function lengthOf(flat: FlatFields): string | undefined {
  for (const [name, value] of pairs(flat)) if (name === 'content-length') return value;
  return undefined;
}

const withLength = (flat: FlatFields, length: number): string[] => [
  ...without(flat, 'content-length'),
  'content-length',
  String(length),
];
