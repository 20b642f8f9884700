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
  base: Readonly<Record<string, number>> = {},
): OperatorLog {
  const outlet = typeof to === 'number' ? new LineWriter(to) : to;
  const writer = outlet.hurry === undefined ? undefined : outlet;
  const common = members(base);
  const emit = <E extends keyof GatewayEvents>(event: E, fields: GatewayEvents[E]): void => {
    const level = EVENT_LEVELS[event];
    outlet.write(`{"level":"${level}","at":${clock.now()}${common}${members(fields)},"event":"${event}"}\n`);
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

/** Members of an object as they stand in a larger one, behind others. */
function members(fields: object): string {
  const text = JSON.stringify(fields);
  return text === '{}' ? '' : `,${text.slice(1, -1)}`;
}
