import { errors, type Dispatcher } from 'undici';
import { Denied, Unavailable, describe } from '../core/errors.ts';

/** Header lines as they came: name, value, name, value, … */
export function rawHeadersOf(controller: Dispatcher.DispatchController): readonly string[] {
  // Bytes as they came; latin1 keeps each byte, so the check for printable ASCII behind this sees what was sent.
  const raw = controller.rawHeaders ?? [];
  const lines: string[] = [];
  if (!Array.isArray(raw)) throw new Unavailable('service.malformed', 'header lines are not readable');
  for (const part of raw) lines.push(typeof part === 'string' ? part : part.toString('latin1'));
  return lines;
}

function header(raw: readonly string[], name: string): string | undefined {
  for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i]?.toLowerCase() === name) return raw[i + 1];
  return undefined;
}

export const isChunked = (raw: readonly string[]): boolean =>
  header(raw, 'transfer-encoding')?.trim().toLowerCase() === 'chunked';

export function contentLength(raw: readonly string[]): number | undefined {
  const text = header(raw, 'content-length')?.trim();
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Which of the provider's failures it was: not reachable, too slow, broken off, or no HTTP. */
export function translate(error: Error, answered: boolean): Error {
  if (error instanceof Denied || error instanceof Unavailable) return error;
  const detail = describe(error);
  if (error instanceof errors.ConnectTimeoutError)
    return new Unavailable('service.unreachable', detail, { cause: error });
  if (error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError) {
    return new Unavailable('service.timeout', detail, { cause: error });
  }
  // Two lengths, or a length beside chunks: nobody can tell where such an answer ends.
  const lengths = error instanceof errors.ResponseContentLengthMismatchError && !answered;
  if (lengths || error instanceof errors.HTTPParserError || error instanceof errors.HeadersOverflowError) {
    return new Unavailable('service.malformed', detail, { cause: error });
  }
  const code = 'code' in error ? error.code : undefined;
  const unreachable = [
    'ECONNREFUSED',
    'ENOTFOUND',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'EAI_AGAIN',
    'ERR_TLS_CERT_ALTNAME_INVALID',
  ];
  if (!answered && typeof code === 'string' && (unreachable.includes(code) || code.includes('CERT'))) {
    return new Unavailable('service.unreachable', detail, { cause: error });
  }
  return new Unavailable('service.broken', detail, { cause: error });
}
