import { BATCH_ALG } from './batch.ts';
import type { Pace, SigningQueue } from './signing-queue.ts';

/** A text and its signature, base64. */
export interface SignedText {
  readonly base: string;
  readonly value: string;
}

/** Has a text signed that is no message. @param compose gets `alg` as the text has to state it */
export const signText = (
  queue: SigningQueue,
  compose: (alg: string | undefined) => string,
  pace: Pace = 'soon',
): Promise<SignedText> =>
  new Promise((resolve, failed) => {
    let base = '';
    queue.add(
      {
        compose: (form) => (base = compose(form === 'batch' ? BATCH_ALG : undefined)),
        signed: (value) => resolve({ base, value }),
        failed,
      },
      pace,
    );
  });
