import type { Field, Fields } from '../core/fields.ts';
import type { DpopNonces } from '../identity/dpop-nonce.ts';
import type { SignedHead } from '../message/signed-head.ts';
import type { Admitted } from './admit.ts';

/** The answer's fields as the client gets them: those of the service, and X-Road's. */
export function answerFields(
  head: SignedHead,
  { request, clientField, lease }: Pick<Admitted, 'request' | 'clientField' | 'lease'>,
  requestHash: string | undefined,
  nonces: DpopNonces,
): Fields {
  const bound = lease.user?.assertion.boundBy === 'dpop';
  const fields: Field[] = [];
  for (const field of head.fields) {
    const [name] = field;
    if (!isOurs(name) && !(bound && name === 'dpop-nonce')) fields.push(field);
  }
  // The nonce of the client's next proof comes with every answer: no round trip is spent on it (RFC 9449 §8.2).
  if (bound) fields.push(['dpop-nonce', nonces.current]);
  fields.push(
    ['x-road-id', request.xid],
    ['x-road-client', clientField],
    ['x-road-service', request.route.service],
    ['x-road-request-id', request.requestId],
  );
  if (requestHash !== undefined) fields.push(['x-road-request-hash', requestHash]);
  return fields;
}

/** What peers say to us alone, and what we say of the exchange ourselves. The peer's error stays its own. */
const isOurs = (name: string): boolean =>
  name.startsWith('t-road-') || (name.startsWith('x-road-') && name !== 'x-road-error');
