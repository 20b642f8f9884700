import { Denied } from '../core/errors.ts';
import type { Fields } from '../core/fields.ts';
import type { Inflow, Outflow } from '../core/flow.ts';
import type { RefusalCode } from '../core/refusals.ts';
import type { BodyMeter } from '../message/digest.ts';
import type { Permit } from './permit.ts';

/** How much the policy lets through. It is looked at with each chunk: a decision on the run may have changed it. */
export interface Ceiling {
  readonly bytes: number;
  readonly code: RefusalCode;
}

export type Passed = (bytes: number, lent: boolean) => void;

export interface RelayTerms {
  /** Content length that the receiver was told; undefined when the end of the body is marked in the transfer. */
  readonly length: number | undefined;
  readonly maxBytes: number;
  /** Longest time without a byte moving, milliseconds. */
  readonly idleMs: number;
  readonly tooLarge: RefusalCode;
  readonly wrongLength: RefusalCode;
  readonly stalled: RefusalCode;
  readonly ceiling: Ceiling;
  /** Told how many bytes went on to the receiver. What was not lent is garbage soon. */
  readonly passed?: Passed | undefined;
}

/**
 * Passes a body on and decides about its end. Chunks go through as they come; what tells the receiver that the message
 * is complete (the bytes that fill its Content-Length, or the last-chunk mark) is held back until `complete` resolves.
 * When anything fails the receiver is broken off and left short: it never sees a tidy end. The sender is only paused:
 * the caller may still have an answer for it.
 *
 * The chunk that goes to the meter is the chunk that goes to the socket; it is not copied, and it is not touched
 * after it was written. What comes as a loan goes on as one.
 *
 * @param complete checks, signs and records the whole message; gets the sender's trailers, gives ours
 * @returns when the end was handed to the receiver's transport
 */
export function relay(
  _permit: Permit,
  from: Inflow,
  to: Outflow,
  meter: BodyMeter,
  terms: RelayTerms,
  complete: (trailers: Fields) => Promise<Fields>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let held: Buffer | undefined;
    let moved = true;
    let over = false;
    let ended = false;

    const fail = (cause: Error): void => {
      if (over) return;
      over = true;
      clearInterval(watch);
      from.pause();
      to.destroy(cause);
      reject(cause);
    };
    // One timer for the whole body, looked at twice per bound: no timer work per chunk.
    const watch = setInterval(() => {
      if (!moved && !ended)
        fail(new Denied(terms.stalled, `no byte for ${terms.idleMs} ms after ${meter.length}`));
      moved = false;
    }, terms.idleMs);

    to.attach({
      drain: () => {
        moved = true;
        from.resume();
      },
      error: fail,
      finish: () => {
        if (over) return;
        over = true;
        clearInterval(watch);
        resolve();
      },
    });
    from.start({
      data: (chunk, loan) => {
        if (over || chunk.length === 0) return; // an empty last chunk must not release the one before it
        moved = true;
        meter.update(chunk, loan !== undefined);
        if (meter.length > terms.maxBytes) {
          fail(new Denied(terms.tooLarge, `over ${terms.maxBytes} bytes`));
        } else if (meter.length > terms.ceiling.bytes) {
          fail(new Denied(terms.ceiling.code, `over ${terms.ceiling.bytes} bytes`));
        } else if (terms.length !== undefined && meter.length > terms.length) {
          fail(new Denied(terms.wrongLength, `more than ${terms.length} bytes`));
        } else if (meter.length === terms.length) {
          held = chunk;
        } else {
          terms.passed?.(chunk.length, loan !== undefined);
          if (!to.write(chunk, loan)) from.pause();
        }
      },
      end: (trailers) => {
        if (over) return;
        ended = true;
        if (terms.length !== undefined && meter.length !== terms.length) {
          fail(new Denied(terms.wrongLength, `${meter.length} of ${terms.length} bytes`));
          return;
        }
        complete(trailers)
          .then((ours) => {
            if (over) return;
            ended = false; // from here the receiver is watched again: it still has to take the end
            moved = true;
            if (held !== undefined) terms.passed?.(held.length, false);
            to.end(held, ours); // throws when the receiver takes no trailers of this size
          })
          .catch(fail);
      },
      error: fail,
    });
  });
}
