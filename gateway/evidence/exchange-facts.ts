import type { EpochMs } from '../core/clock.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { DeviceFacts, ExchangeFacts, ExchangeKind, TlsFacts } from './record.ts';

type Named = 'x' | 'role' | 'me';
/** What belongs to one record alone. */
type Own = 'out' | 'mode' | 'sig' | 'kid' | 'len' | 'dg' | 'status' | 'sent';
export type OwnFacts = Pick<ExchangeFacts, 'out'> & {
  readonly [K in Exclude<Own, 'out'>]?: ExchangeFacts[K] | undefined;
};
export type LearntFacts = Omit<ExchangeFacts, Named | Own>;

let make: (
  facts: Pick<ExchangeFacts, Named | 'peer'>,
  k: ExchangeKind,
  out: ExchangeFacts['out'],
  members: readonly string[],
) => ExchangeRecord;

/** A record whose text is made already; only {@link KnownFacts} makes one. */
export class ExchangeRecord {
  declare protected readonly nominal: never;
  readonly k: ExchangeKind;
  readonly x: ExchangeId;
  readonly role: 'c' | 'p';
  readonly me: string;
  readonly peer: string | undefined;
  readonly out: ExchangeFacts['out'];
  /** As `membersOf` would write them. */
  readonly members: readonly string[];

  private constructor(
    { x, role, me, peer }: Pick<ExchangeFacts, Named | 'peer'>,
    k: ExchangeKind,
    out: ExchangeFacts['out'],
    members: readonly string[],
  ) {
    this.k = k;
    this.x = x;
    this.role = role;
    this.me = me;
    this.peer = peer;
    this.out = out;
    this.members = members;
  }

  static {
    make = (facts, k, out, members) => new ExchangeRecord(facts, k, out, members);
  }
}

/**
 * What one gateway knows of one exchange. Most of it stands in every record of the exchange: its text is made with the first,
 * and again when something has changed. What is learnt later comes behind.
 */
export class KnownFacts {
  readonly #facts: Pick<ExchangeFacts, Named> & { -readonly [K in keyof LearntFacts]: LearntFacts[K] };
  #text: string | undefined;

  constructor(x: ExchangeId, role: 'c' | 'p', me: string) {
    this.#facts = { x, role, me };
  }

  get known(): Readonly<LearntFacts> & Pick<ExchangeFacts, Named> {
    return this.#facts;
  }

  /** Adds what is new and replaces what has changed. Objects that are learnt do not change any more. */
  learn(facts: LearntFacts): void {
    if (this.#text !== undefined) {
      const isNew = (Object.keys(facts) as (keyof LearntFacts)[]).every((k) => this.#facts[k] === undefined); // its own
      this.#text = isNew ? this.#text + textOf(facts) : undefined;
    }
    Object.assign(this.#facts, facts);
  }

  record(k: ExchangeKind, at: EpochMs, own: OwnFacts): ExchangeRecord {
    this.#text ??= textOf(this.#facts);
    const members = [`"k":"${k}","at":${at}`, this.#text, ',', JSON.stringify(own).slice(1, -1)];
    return make(this.#facts, k, own.out, members);
  }
}

/** Each member behind a comma. */
function textOf({ tls, dev, node, ...facts }: Partial<Pick<ExchangeFacts, Named>> & LearntFacts): string {
  const own = JSON.stringify(facts);
  let text = own === '{}' ? '' : `,${own.slice(1, -1)}`;
  if (tls !== undefined) text += `,"tls":${sharedText(tls)}`;
  if (dev !== undefined) text += `,"dev":${sharedText(dev)}`;
  if (node !== undefined) text += `,"node":${sharedText(node)}`;
  return text;
}

/** Texts of facts that many exchanges share: of a session, of a machine. */
const texts = new WeakMap<TlsFacts | DeviceFacts, string>();

function sharedText(facts: TlsFacts | DeviceFacts): string {
  let text = texts.get(facts);
  if (text === undefined) texts.set(facts, (text = JSON.stringify(facts)));
  return text;
}
