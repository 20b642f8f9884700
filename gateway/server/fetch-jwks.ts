import { MAX_JWKS_BYTES } from '../registry/jwks.ts';

const PATIENCE_MS = 5_000;

/**
 * Gets a JWK set. The URL is one of the signed registry; a redirect could lead anywhere, so none is followed.
 * @throws Error whatever went wrong, in words
 */
export async function fetchJwks(url: string): Promise<Uint8Array> {
  const answer = await fetch(url, {
    redirect: 'error',
    credentials: 'omit',
    headers: { accept: 'application/jwk-set+json, application/json' },
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (answer.status !== 200 || answer.body === null) {
    await answer.body?.cancel();
    throw new Error(`answered ${answer.status}`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Typed as a stream of anything; fetch bodies are bytes.
  for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_JWKS_BYTES) throw new Error(`longer than ${MAX_JWKS_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
