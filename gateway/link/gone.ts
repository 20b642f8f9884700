/** Tells one listener once that the other side left, also when it asks late. */
export class GoneNotice {
  #listener: ((cause: Error) => void) | undefined;
  #cause: Error | undefined;

  listen(listener: (cause: Error) => void): void {
    if (this.#listener !== undefined) throw new Error('one listener');
    this.#listener = listener;
    const cause = this.#cause;
    if (cause !== undefined) queueMicrotask(() => listener(cause));
  }

  tell(cause: Error): void {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    this.#listener?.(cause);
  }
}
