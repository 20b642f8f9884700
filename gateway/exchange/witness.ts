import { MalformedBytes, Unavailable } from '../core/errors.ts';
import type { LinkArrival, LinkTarget } from '../link/link.ts';
import { answerOf } from './deadline.ts';
import type { Gateway } from './gateway.ts';
import { readNote } from './note.ts';

/** Peers show each other their newest checkpoint here. Not a service: nothing of an agency is carried. */
export const CHECKPOINT_PATH = '/.troad/checkpoint';

const PATIENCE_MS = 10_000;

/** Shows our checkpoint to a peer and keeps the one it shows in return. @throws Unavailable `link.*` */
export async function showCheckpoint(gateway: Gateway, target: LinkTarget): Promise<void> {
  const head = {
    method: 'POST',
    authority: target.name,
    path: CHECKPOINT_PATH,
    query: '',
    fields: [['content-type', 'text/plain']] as const,
  };
  const note = Buffer.from(gateway.log.checkpoint(), 'utf8');
  const call = await gateway.link.call(target, head, { kind: 'whole', bytes: note });
  const late = (): Unavailable => new Unavailable('link.timeout', 'checkpoint');
  const answer = await answerOf(call, PATIENCE_MS, late);
  const body = await readNote(answer.inflow, 'checkpoint');
  if (answer.head.status === 200) await keep(gateway, target.name, body);
}

/** Answers a peer that shows its checkpoint. The peer's name is the one its live connection proved. */
export async function keepCheckpoint(gateway: Gateway, arrival: LinkArrival, peer: string): Promise<void> {
  const answer = (status: number, text: string): void => {
    const fields = [['content-type', 'text/plain']] as const;
    arrival.answer({ status, fields }, { kind: 'whole', bytes: Buffer.from(text, 'utf8') });
  };
  if (arrival.rawHead.method !== 'POST') {
    answer(400, 'expected one checkpoint\n');
    return;
  }
  try {
    await keep(gateway, peer, await readNote(arrival.inflow, 'checkpoint'));
    answer(200, gateway.log.checkpoint());
  } catch (thrown) {
    if (!(thrown instanceof MalformedBytes)) throw thrown;
    answer(400, 'not a checkpoint of yours\n');
  }
}

/** A peer that shows two histories is set apart: nothing goes to it or comes from it until an operator has looked. */
async function keep(gateway: Gateway, peer: string, note: string): Promise<void> {
  const vkeys =
    gateway
      .registry()
      .gateway(peer)
      ?.logs.map(({ vkey }) => vkey) ?? [];
  const observation = await gateway.log.observePeer({ peer, note, vkeys });
  if (observation === 'disputed') gateway.quarantine.add(peer);
}
