import type { ExchangeId } from '../core/ids.ts';
import type { ExchangeObserver } from './gateway.ts';

/**
 * The last exit of an exchange, for when its refusal failed as well. That is a mistake of ours, but one that somebody outside may
 * know how to cause again; and a rejection that nobody handles ends the worker with everybody's exchanges. So it ends this
 * one, and is told.
 */
export function lastExit(
  id: ExchangeId,
  arrival: { abort(cause: Error): void },
  observer: Pick<ExchangeObserver, 'trouble'>,
): (thrown: unknown) => void {
  return (thrown) => {
    const cause = thrown instanceof Error ? thrown : new Error(String(thrown));
    observer.trouble(id, 'gateway.internal', cause.stack ?? cause.message);
    arrival.abort(cause);
  };
}
