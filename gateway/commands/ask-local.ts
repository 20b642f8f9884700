import type { administrate } from '../attest/attestor-client.ts';

/** These programs ask nobody before they answer. */
const PATIENCE_MS = 10_000;

/** Asks a program of this machine, an agent or an attestation service, over its socket. */
export async function askLocal(
  socket: string,
  asked: Parameters<typeof administrate>[1],
): ReturnType<typeof administrate> {
  const client = await import('../attest/attestor-client.ts');
  return client.administrate(socket, { ...asked, patienceMs: PATIENCE_MS });
}
