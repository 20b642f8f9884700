// Registers of things that come and go with every exchange.
//
// A Map or Set is the wrong place for them. When its table is full V8 makes another, and the one that is done with keeps
// its members and points to its successor. Once such a table has grown old, and each full collection makes the present one
// old, every later table hangs on one that is dead: all members outlive the collections of young objects, until the
// next full collection starts it anew. Here a place that was left holds nothing.

/** Where a member stands. Leaving twice does no harm. */
export interface Place {
  leave(): void;
}

class Link<T> implements Place {
  member: T | undefined;
  before: Link<T> = this;
  next: Link<T> = this;
  readonly #left: () => void;

  constructor(member: T | undefined, left: () => void) {
    this.member = member;
    this.#left = left;
  }

  leave(): void {
    if (this.member === undefined) return;
    this.member = undefined;
    this.before.next = this.next;
    this.next.before = this.before;
    this.before = this.next = this; // holds nothing any more, and nothing later
    this.#left();
  }
}

/** Members in the order in which they came. */
export class Roster<T extends object> {
  readonly #end = new Link<T>(undefined, () => undefined);
  readonly #left = (): void => {
    this.#size -= 1;
  };
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Who has been here longest. */
  get first(): T | undefined {
    return this.#end.next.member;
  }

  add(member: T): Place {
    const link = new Link(member, this.#left);
    const { before } = this.#end;
    link.before = before;
    link.next = this.#end;
    this.#end.before = before.next = link;
    this.#size += 1;
    return link;
  }

  /** As they are now: any of them may leave meanwhile. */
  list(): T[] {
    const members: T[] = [];
    for (let link = this.#end.next; link.member !== undefined; link = link.next) members.push(link.member);
    return members;
  }
}

/** A map whose former tables hold keys and empty cells. */
export class PassingMap<K extends string | number, V extends object> {
  readonly #cells = new Map<K, { value: V | undefined }>();

  get size(): number {
    return this.#cells.size;
  }

  /** Key of what has been here longest. */
  get oldest(): K | undefined {
    for (const key of this.#cells.keys()) return key;
    return undefined;
  }

  has(key: K): boolean {
    return this.#cells.has(key);
  }

  get(key: K): V | undefined {
    return this.#cells.get(key)?.value;
  }

  set(key: K, value: V): void {
    const cell = this.#cells.get(key);
    if (cell === undefined) this.#cells.set(key, { value });
    else cell.value = value;
  }

  /** @returns whether it was there */
  delete(key: K): boolean {
    const cell = this.#cells.get(key);
    if (cell === undefined) return false;
    cell.value = undefined;
    return this.#cells.delete(key);
  }

  /** As they are now. */
  values(): V[] {
    return [...this.#cells.values()].flatMap(({ value }) => value ?? []);
  }
}
