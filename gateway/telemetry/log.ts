import pino, { type DestinationStream } from 'pino';
import type { Clock } from '../core/clock.ts';
import { EVENT_LEVELS, type Emit, type GatewayEvents } from './events.ts';
import { LineWriter } from './line-writer.ts';

export interface OperatorLog {
  readonly emit: Emit;
  /** Writes what waits in memory, now: for a process that crashes. */
  flush(): void;
  /** Writes all there is, within a second: for an orderly end. */
  close(): Promise<void>;
}

/**
 * One line of JSON per event: `{"level":"info","at":<ms>,…,"event":"exchange.completed"}`. Lines wait a moment in memory,
 * and are dropped, counted, when nobody reads them; the evidence log is what must not lose anything.
 * @param to file descriptor, or a stream for tests
 */
export function openOperatorLog(clock: Clock, to: number | DestinationStream): OperatorLog {
  const writer = typeof to === 'number' ? new LineWriter(to) : undefined;
  const logger = pino(
    {
      base: null,
      messageKey: 'event',
      formatters: { level: (label: string) => ({ level: label }) },
      timestamp: () => `,"at":${clock.now()}`,
    },
    typeof to === 'number' ? { write: (line) => writer?.write(line) } : to,
  );
  const emit = <E extends keyof GatewayEvents>(event: E, fields: GatewayEvents[E]): void => {
    const level = EVENT_LEVELS[event];
    const line: object = fields;
    logger[level](line, event);
    // Trouble should be readable at once.
    if (level !== 'info') writer?.hurry();
  };
  return {
    emit(event, fields) {
      const lines = writer?.takeDropped() ?? 0;
      if (lines > 0) emit('log.dropped', { lines });
      emit(event, fields);
    },
    flush: () => writer?.flush(),
    close: async () => writer?.close(),
  };
}
