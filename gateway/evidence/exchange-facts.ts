import type { EpochMs } from '../core/clock.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { DeviceFacts, ExchangeFacts, ExchangeKind, TlsFacts } from './record.ts';

type Named = 'x' | 'role' | 'me';
/** What belongs to one record alone. */
type Own = 'out' | 'mode' | 'sig' | 'kid' | 'len' | 'dg' | 'status' | 'sent';
export type OwnFacts = Pick<ExchangeFacts, 'out'> & {
  readonly [K in Exclude<Own, 'out'>]?: ExchangeFacts[K] | undefined;
};
export type LearntFacts = Omit<ExchangeFacts, Named | Own | keyof SharedFacts>;
export type SharedFacts = Pick<ExchangeFacts, 'tls' | 'dev' | 'node'>;

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
 * What one gateway knows of one exchange. Most of it stands in every record of the exchange: its text is made once, and again
 * when something was learnt.
 */
export class KnownFacts {
  readonly #facts: Pick<ExchangeFacts, Named> & { -readonly [K in keyof LearntFacts]: LearntFacts[K] };
  #text: string | undefined;
  #tls = '';
  #dev = '';
  #node = '';

  constructor(x: ExchangeId, role: 'c' | 'p', me: string) {
    this.#facts = { x, role, me };
  }

  get known(): Readonly<LearntFacts> & Pick<ExchangeFacts, Named> {
    return this.#facts;
  }

  /** Adds what is new and replaces what has changed. */
  learn(facts: LearntFacts): void {
    Object.assign(this.#facts, facts);
    this.#text = undefined;
  }

  /** The same, of objects that many exchanges share: a session, a machine. They do not change any more. */
  share({ tls, dev, node }: SharedFacts): void {
    if (tls !== undefined) this.#tls = sharedText('tls', tls);
    if (dev !== undefined) this.#dev = sharedText('dev', dev);
    if (node !== undefined) this.#node = sharedText('node', node);
  }

  record(k: ExchangeKind, at: EpochMs, own: OwnFacts): ExchangeRecord {
    this.#text ??= JSON.stringify(this.#facts).slice(1, -1);
    const shared = this.#tls + this.#dev + this.#node;
    const members = [`"k":"${k}","at":${at},`, this.#text, shared, ',', JSON.stringify(own).slice(1, -1)];
    return make(this.#facts, k, own.out, members);
  }
}

const texts = new WeakMap<TlsFacts | DeviceFacts, string>();

/** Behind a comma. */
function sharedText(name: keyof SharedFacts, facts: TlsFacts | DeviceFacts): string {
  let text = texts.get(facts);
  if (text === undefined) texts.set(facts, (text = JSON.stringify(facts)));
  return `,"${name}":${text}`;
}
