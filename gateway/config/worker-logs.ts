/** Where one worker's evidence log is, and how its checkpoints name it, epoch included. */
export interface WorkerLog {
  readonly dir: string;
  readonly origin: string;
}

/** The epoch that logs begin with. */
const EPOCH = 1;

/**
 * Each worker writes a log of its own; the registry lists a key for each. One worker alone has the folder and the name
 * for itself.
 */
export function workerLogs(
  { dir, origin }: WorkerLog,
  workers: number,
): readonly [WorkerLog, ...WorkerLog[]] {
  const first = workers === 1 ? { dir, origin: `${origin}/${EPOCH}` } : numbered({ dir, origin }, 1);
  return [first, ...Array.from({ length: workers - 1 }, (_, i) => numbered({ dir, origin }, i + 2))];
}

const numbered = ({ dir, origin }: WorkerLog, worker: number): WorkerLog => ({
  dir: `${dir}/w${worker}`,
  origin: `${origin}/w${worker}/${EPOCH}`,
});
