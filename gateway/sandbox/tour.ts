import { createHash } from 'node:crypto';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { pseudoRandom } from './services.ts';
import type { SandboxReady } from './sandbox.ts';
import type { Wire } from './wire.ts';

const SERVICE = '/r1/TW/GOV/B07/housing';
const CLIENT = { 'x-road-client': 'TW/GOV/A11/welfare' };
const MIB = 1024 * 1024;

/** Where the tour speaks. `progress` replaces the last line while something long runs. */
export interface Narrator {
  step(title: string): void;
  line(text: string): void;
  progress(text: string): void;
}

/** What a step of the tour found; the demo fails when one is not as it must be. */
export class TourFailed extends Error {
  override readonly name = 'TourFailed';
}

/** One exchange of every kind, through both gateways, with nothing but an HTTP client. @throws TourFailed */
export async function takeTour(
  { consumer }: Pick<SandboxReady, 'consumer'>,
  wire: Wire,
  narrator: Narrator,
  uploadBytes = 256 * MIB,
): Promise<{ readonly aborted: string; readonly refused: string; readonly uploaded: string }> {
  const base = `${consumer.url}${SERVICE}`;

  narrator.step('An unmodified HTTP client of agency A asks a service of agency B');
  const got = await ask('GET', `${base}/echo/hello?year=2026`);
  demand(got.status === 200, `GET answered ${got.status}`);
  narrator.line(
    `GET ${SERVICE}/echo/hello?year=2026 → ${got.status}, x-road-id ${String(got.headers['x-road-id'])}`,
  );
  const seen = JSON.parse(got.body) as { headers: { 't-road-consumer': string; 't-road-agreement': string } };
  narrator.line(
    `B's service was told: consumer ${seen.headers['t-road-consumer']}, agreement ${seen.headers['t-road-agreement']}`,
  );

  narrator.step('A POST: signed by A, checked and signed by B, checked by A, logged by both');
  const posted = await ask('POST', `${base}/echo/applications`, Buffer.from('{"case":"T-2026-001"}'));
  demand(posted.status === 200 && posted.body.includes('T-2026-001'), `POST answered ${posted.status}`);
  narrator.line(`POST → ${posted.status}, exchange ${String(posted.headers['x-road-request-id'])}`);

  narrator.step(`A ${uploadBytes / MIB} MiB upload: streamed, digested at both ends, stored nowhere`);
  const upload = await uploadWithProgress(`${base}/files/archive`, uploadBytes, narrator);

  narrator.step('An event stream: each event passes as it comes');
  await watchEvents(`${base}/events?count=5&ms=300`, narrator);

  narrator.step('A call that no agreement covers: refused at the head, before a byte of its body');
  const refused = await ask('POST', `${base}/events`, Buffer.from('{}'));
  demand(refused.status === 403, `POST to events answered ${refused.status}`);
  narrator.line(`POST ${SERVICE}/events → ${refused.status} ${refused.body}`);

  narrator.step('One bit changed on the network between the gateways, in the middle of an upload');
  const flipped = wire.flipOneBit();
  const tampered = await send('PUT', `${base}/files/tampered`, 16 * MIB, () => undefined);
  await flipped;
  demand(tampered.status !== 200, 'a changed byte went through');
  narrator.line(`the client was told ${tampered.status} ${tampered.body}`);
  return {
    aborted: String(tampered.headers['x-road-request-id'] ?? detailOf(tampered.body)),
    refused: detailOf(refused.body),
    uploaded: upload,
  };
}

const detailOf = (body: string): string => (JSON.parse(body) as { detail: string }).detail; // our own error body

function demand(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new TourFailed(otherwise);
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

function ask(method: string, url: string, body?: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, headers: CLIENT }, (answer) => {
      read(answer).then(resolve, reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

async function read(answer: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk);
  return {
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    body: Buffer.concat(chunks).toString('utf8'),
  };
}

/** Streams pseudo-random bytes; an answer that comes before the end stops it. */
function send(
  method: string,
  url: string,
  size: number,
  sent: (bytes: number, chunk: Buffer) => void,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let answered = false;
    const outgoing = request(url, { method, headers: { ...CLIENT, 'content-length': size } }, (answer) => {
      answered = true;
      read(answer).then(resolve, reject);
    });
    outgoing.on('error', (cause) => {
      if (!answered) reject(cause);
    });
    const pour = async (): Promise<void> => {
      let bytes = 0;
      for await (const chunk of pseudoRandom(size, 'tour')) {
        if (answered) return;
        bytes += chunk.length;
        sent(bytes, chunk);
        if (!outgoing.write(chunk)) await writable(outgoing);
      }
      outgoing.end();
    };
    pour().catch(reject);
  });
}

/** Until there is room again, or nobody to write to. */
function writable(outgoing: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const ready = (): void => {
      outgoing.off('drain', ready).off('close', ready);
      resolve();
    };
    outgoing.on('drain', ready).on('close', ready);
  });
}

async function uploadWithProgress(url: string, size: number, narrator: Narrator): Promise<string> {
  const hash = createHash('sha256');
  const began = performance.now();
  let told = began;
  const answer = await send('PUT', url, size, (bytes, chunk) => {
    hash.update(chunk);
    const now = performance.now();
    if (now - told < 100) return;
    told = now;
    const rate = bytes / MIB / ((now - began) / 1000);
    narrator.progress(`${String(Math.floor((bytes / size) * 100)).padStart(3)} %  ${rate.toFixed(0)} MiB/s`);
  });
  const seconds = (performance.now() - began) / 1000;
  const { sha256 } = JSON.parse(answer.body) as { sha256?: string };
  demand(
    answer.status === 200 && sha256 === hash.digest('hex'),
    `upload answered ${answer.status} ${answer.body}`,
  );
  narrator.line(
    `${size / MIB} MiB in ${seconds.toFixed(1)} s, ${(size / MIB / seconds).toFixed(0)} MiB/s; SHA-256 is the same at both ends`,
  );
  narrator.line(sha256);
  return String(answer.headers['x-road-request-id']);
}

function watchEvents(url: string, narrator: Narrator): Promise<void> {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const outgoing = request(url, { headers: CLIENT }, (answer) => {
      answer.setEncoding('utf8');
      answer.on('data', (text: string) => {
        const data = /data: (.*)/.exec(text)?.[1];
        if (data !== undefined)
          narrator.line(`after ${((performance.now() - began) / 1000).toFixed(1)} s: ${data}`);
      });
      answer.on('end', resolve);
      answer.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}
