/**
 * How much one signature and one write to the log served while a load ran. A gateway's cost of an exchange falls with
 * it, so it is what explains a figure beside another. From the page that the gateway shows its operator.
 */

/** What a gateway had counted at a moment. */
export interface Counted {
  readonly signatures: number;
  readonly messages: number;
  readonly commits: number;
  readonly records: number;
  readonly collectorSeconds: number;
}

export interface Batching {
  readonly messagesPerSignature: number;
  readonly recordsPerCommit: number;
  readonly commitsPerExchange: number;
  /** How long its threads stood still for the garbage collector. */
  readonly collectorMs: number;
}

/** @param page Prometheus text exposition. @throws Error naming the metric that is not there */
export function parseCounted(page: string): Counted {
  const value = (name: string): number => {
    const found = new RegExp(`^${name} (\\S+)$`, 'm').exec(page)?.[1];
    if (found === undefined || !(Number(found) >= 0)) throw new Error(`metrics: no ${name}`);
    return Number(found);
  };
  return {
    signatures: value('troad_signature_messages_count'),
    messages: value('troad_signature_messages_sum'),
    commits: value('troad_evidence_commit_seconds_count'),
    records: value('troad_evidence_records_total'),
    collectorSeconds: value('nodejs_gc_seconds_total'),
  };
}

/** @param admin URL of a gateway's listener for its operator */
export async function readCounted(admin: string): Promise<Counted> {
  const answer = await fetch(`${admin}/metrics`);
  if (!answer.ok) throw new Error(`${admin}/metrics: status ${answer.status}`);
  return parseCounted(await answer.text());
}

export function batchingBetween(before: Counted, after: Counted, exchanges: number): Batching {
  const commits = after.commits - before.commits;
  return {
    messagesPerSignature: (after.messages - before.messages) / (after.signatures - before.signatures),
    recordsPerCommit: (after.records - before.records) / commits,
    commitsPerExchange: commits / exchanges,
    collectorMs: (after.collectorSeconds - before.collectorSeconds) * 1000,
  };
}
