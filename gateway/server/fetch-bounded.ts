import { english, inWords } from '../core/file-errors.ts';
import { MAX_JWKS_BYTES } from '../registry/jwks.ts';

const JWKS_PATIENCE_MS = 5_000;

/** Gets a JWK set. The URL is one of the signed registry. @throws Error whatever went wrong, in words */
export const fetchJwks = (url: string): Promise<Uint8Array> =>
  fetchBounded(url, MAX_JWKS_BYTES, JWKS_PATIENCE_MS, {
    headers: { accept: 'application/jwk-set+json, application/json' },
  });

/**
 * One request to an identity provider. A redirect could lead anywhere, so none is followed; no more is read, and no longer
 * waited for, than was said.
 * @throws Error whatever went wrong, in words
 */
export async function fetchBounded(
  url: string,
  maxBytes: number,
  patienceMs: number,
  request: RequestInit,
): Promise<Uint8Array> {
  const late = AbortSignal.timeout(patienceMs);
  const signal = request.signal ? AbortSignal.any([late, request.signal]) : late;
  const answer = await fetch(url, { ...request, redirect: 'error', credentials: 'omit', signal }).catch(
    (thrown: unknown) => {
      // Undici's own words are "fetch failed"; what failed is its cause.
      const { cause } = Object(thrown) as { cause?: unknown }; // any object may be asked
      throw cause === undefined ? thrown : new Error(english(inWords(cause)), { cause: thrown });
    },
  );
  if (answer.status !== 200 || answer.body === null) {
    await answer.body?.cancel();
    throw new Error(`answered ${answer.status}`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Typed as a stream of anything; fetch bodies are bytes.
  for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > maxBytes) throw new Error(`longer than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
