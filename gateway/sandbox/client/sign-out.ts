import type { Told } from '../idp/transmitter.ts';
import { ask } from './http.ts';

/**
 * The identity provider ends the sessions of somebody, and tells the gateways by shared signals.
 * @param who login or subject
 * @throws Error with the provider's words
 */
export async function endSessions(
  { issuer, ca }: { readonly issuer: string; readonly ca: string },
  who: string,
  type: string,
): Promise<readonly Told[]> {
  const { status, body } = await ask(`${issuer}/sessions/end`, {
    method: 'POST',
    ca,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ login: who, type }),
  });
  if (status !== 200) throw new Error(`sessions were not ended: ${body}`);
  return (JSON.parse(body) as { told: readonly Told[] }).told; // the sandbox's own provider
}

/** For people. */
export const outcomeOf = ({ audience, status, elapsedMs }: Told): string =>
  `${audience}: ${status === 202 ? `in effect after ${elapsedMs.toFixed(0)} ms` : `not taken, status ${status}`}`;
