/** One HTTP/1.1 answer as it stood on the wire. */
export interface RawResponse {
  readonly status: number;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  /** False when the connection ended before the answer's framing said so. */
  readonly complete: boolean;
}

export const field = (response: RawResponse, name: string): string | undefined =>
  response.fields.find(([candidate]) => candidate.toLowerCase() === name)?.[1];

/**
 * Reads the answers to a connection's requests, 1xx included. Made for what a gateway sends, and strict about it: bytes
 * that are not an answer throw.
 * @param methods methods of the requests in order: an answer to HEAD has no content
 */
export function readResponses(bytes: Buffer, methods: readonly string[]): readonly RawResponse[] {
  const responses: RawResponse[] = [];
  let rest = bytes;
  let answered = 0;
  while (rest.length > 0) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) throw new Error(`not an answer: ${JSON.stringify(rest.toString('latin1', 0, 80))}`);
    const [statusLine = '', ...lines] = rest.toString('latin1', 0, end).split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3}) [^\r\n]*$/.exec(statusLine)?.[1] ?? Number.NaN);
    if (Number.isNaN(status)) throw new Error(`not a status line: ${JSON.stringify(statusLine)}`);
    const fields = lines.map((line): readonly [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    });
    rest = rest.subarray(end + 4);
    const interim = status < 200;
    const bodiless = interim || status === 204 || status === 304 || methods[answered] === 'HEAD';
    if (!interim) answered += 1;
    const { body, complete, used } = bodiless ? NO_BODY : readBody(rest, fields);
    responses.push({ status, fields, body, complete });
    rest = rest.subarray(used);
  }
  return responses;
}

/** How many whole answers have come so far, 1xx included: what has come of the next head is no error yet. */
export function answersIn(bytes: Buffer, methods: readonly string[] = []): number {
  try {
    return readResponses(bytes, methods).filter(({ complete }) => complete).length;
  } catch {
    return 0;
  }
}

interface Body {
  readonly body: Buffer;
  readonly complete: boolean;
  readonly used: number;
}

const NO_BODY: Body = { body: Buffer.alloc(0), complete: true, used: 0 };

function readBody(bytes: Buffer, fields: RawResponse['fields']): Body {
  const valueOf = (name: string): string | undefined => fields.find(([n]) => n.toLowerCase() === name)?.[1];
  if (valueOf('transfer-encoding') === 'chunked') return readChunks(bytes);
  const announced = valueOf('content-length');
  if (announced === undefined) throw new Error('an answer delimited by closing');
  const length = Number(announced);
  return {
    body: bytes.subarray(0, length),
    complete: bytes.length >= length,
    used: Math.min(length, bytes.length),
  };
}

function readChunks(bytes: Buffer): Body {
  const pieces: Buffer[] = [];
  let at = 0;
  const broken = (): Body => ({ body: Buffer.concat(pieces), complete: false, used: bytes.length });
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return broken();
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    at = lineEnd + 2;
    const piece = bytes.subarray(at, at + size);
    if (size > 0) pieces.push(piece);
    at += size + 2;
    if (at > bytes.length) return broken();
    if (size === 0) return { body: Buffer.concat(pieces), complete: true, used: at };
  }
}
