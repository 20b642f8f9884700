/** Places that many want: how many each holds, and no more than a share for one. */
export class Places {
  readonly #most: number;
  readonly #held = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** @returns false when this one has its share */
  take(who: string): boolean {
    const held = this.#held.get(who) ?? 0;
    if (held >= this.#most) return false;
    this.#held.set(who, held + 1);
    return true;
  }

  /** Gives one back that was taken. */
  leave(who: string): void {
    const left = (this.#held.get(who) ?? 1) - 1;
    if (left > 0) this.#held.set(who, left);
    else this.#held.delete(who);
  }
}
