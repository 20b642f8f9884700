import type { LinkAnswer, LinkCall } from '../link/link.ts';

/** The promise's outcome, or `late()` thrown when it takes longer than `ms`. The loser is not waited for. */
export function within<T>(promise: Promise<T>, ms: number, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(late());
    }, ms);
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (cause: unknown) => {
        clearTimeout(timer);
        reject(cause instanceof Error ? cause : new Error(String(cause)));
      },
    );
  });
}

/** The head of an answer. A call that is not waited for any longer is broken off: the peer must not pile up streams. */
export async function answerOf(
  call: Pick<LinkCall, 'answer' | 'abort'>,
  ms: number,
  late: () => Error,
): Promise<LinkAnswer> {
  return within(call.answer, ms, () => {
    const cause = late();
    call.abort(cause);
    return cause;
  });
}
