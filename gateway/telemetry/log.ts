import pino from 'pino';
import type { Clock } from '../core/clock.ts';
import { EVENT_LEVELS, type Emit, type GatewayEvents } from './events.ts';
import { LineWriter, type LineOutlet } from './line-writer.ts';

export interface OperatorLog {
  readonly emit: Emit;
  /** Lines of another thread, as they are and at once: they have waited there. */
  write(lines: string): void;
  /** Writes what waits in memory, now: for a process that crashes. */
  flush(): void;
  /** Writes all there is, within a second: for an orderly end. */
  close(): Promise<void>;
}

/**
 * One line of JSON per event: `{"level":"info","at":<ms>,…,"event":"exchange.completed"}`. Lines wait a moment in memory,
 * and are dropped, counted, when nobody reads them; the evidence log is what must not lose anything.
 * @param to file descriptor, whoever takes lines to one, or anything that takes text
 * @param base fields of every line
 */
export function openOperatorLog(
  clock: Clock,
  to: number | LineOutlet | { write(line: string): void; hurry?: never },
  base: Readonly<Record<string, number>> | null = null,
): OperatorLog {
  const outlet = typeof to === 'number' ? new LineWriter(to) : to;
  const writer = outlet.hurry === undefined ? undefined : outlet;
  const logger = pino(
    {
      base,
      messageKey: 'event',
      formatters: { level: (label: string) => ({ level: label }) },
      timestamp: () => `,"at":${clock.now()}`,
    },
    { write: (line) => outlet.write(line) },
  );
  const always = base === null ? '' : membersOf(base);
  const emit = <E extends keyof GatewayEvents>(event: E, fields: GatewayEvents[E]): void => {
    const level = EVENT_LEVELS[event];
    const line: object = fields;
    if (event === 'exchange.completed') {
      // Some thousand a second: the very line that pino would write, in a third of the time.
      outlet.write(`{"level":"info","at":${clock.now()}${always}${membersOf(line)},"event":"${event}"}\n`);
      return;
    }
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
    write(lines) {
      outlet.write(lines);
      writer?.hurry();
    },
    flush: () => writer?.flush(),
    close: async () => writer?.close(),
  };
}

/** Members of an object that has some, each behind a comma. */
const membersOf = (fields: object): string => `,${JSON.stringify(fields).slice(1, -1)}`;
