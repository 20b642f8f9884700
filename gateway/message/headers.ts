import { Denied, quoted } from '../core/errors.ts';
import type { Field, Fields, PlainField } from '../core/fields.ts';
import { isPlain } from '../core/plain-text.ts';
import { HOP_BY_HOP, nameFacts, REMADE, type NameFacts } from './field-names.ts';

export const LIMITS = { fields: 100, bytes: 16 * 1024 } as const;

/** Fields on their way to canonical form: limits, characters, and each name once. */
class Collected {
  readonly fields: [string, string][] = [];
  /** Singletons that were dropped: Host and Content-Length may not stand twice either. */
  #dropped: string[] | undefined;
  #bytes = 0;
  readonly #plain: boolean;

  /** @param plain all values were looked through already */
  constructor(plain = false) {
    this.#plain = plain;
  }

  drop({ name, singleton }: NameFacts, written: string, value: string): void {
    this.#bytes += written.length + value.length;
    if (!singleton) return;
    if (this.#dropped === undefined) this.#dropped = [name];
    else if (this.#dropped.includes(name)) throw new Denied('header.duplicate', quoted(name));
    else this.#dropped.push(name);
  }

  add({ name, singleton }: NameFacts, written: string, line: string, lenient: boolean): void {
    const value = line.trim();
    this.#bytes += written.length + value.length;
    const before = this.#find(name);
    if (before !== undefined && singleton) throw new Denied('header.duplicate', quoted(name));
    // obs-text is refused: policies would see lossy text. The whole line is: `trim` takes more away than spaces and tabs.
    if (!this.#plain && !isPlain(line)) throw new Denied('header.malformed', `value of ${quoted(name)}`);
    if (value === '' && lenient) return;
    if (before === undefined) this.fields.push([name, value]);
    else before[1] = `${before[1]}, ${value}`; // RFC 9110 §5.3: one list, in order
  }

  #find(name: string): [string, string] | undefined {
    for (const field of this.fields) if (field[0] === name) return field;
    return undefined;
  }

  finish(): Fields {
    if (this.#bytes > LIMITS.bytes) throw new Denied('framing.headers_too_large', `${this.#bytes} bytes`);
    return this.fields;
  }
}

function requireFew(lines: number): void {
  if (lines > LIMITS.fields) throw new Denied('framing.headers_too_large', `${lines} fields`);
}

/**
 * Header lines of a client system in canonical form: what may be carried, each name once.
 * @param raw name, value, name, value, … in order of arrival
 * @throws Denied `header.*`, `framing.headers_too_large`
 */
export function clientFields(raw: readonly string[]): Fields {
  requireFew(raw.length / 2);
  const collected = new Collected();
  let reserved: string | undefined;
  let remade = false;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const written = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    const facts = nameFacts(written);
    if (facts.name === 'connection') requireHopByHop(value);
    if (facts.reserved) reserved ??= facts.name;
    if (facts.remade) remade = true;
    if (facts.dropped) collected.drop(facts, written, value);
    else collected.add(facts, written, value, false);
  }
  const fields = collected.finish();
  if (reserved !== undefined) throw new Denied('header.reserved', quoted(reserved));
  return remade ? fields.filter(([name]) => !REMADE.has(name)) : fields;
}

/**
 * Header lines that came over the link, canonical. Nothing is dropped silently: a field that may not travel there is
 * refused, because it would be uncovered or mean two things.
 * @throws Denied `header.*`
 */
export const linkFields = (lines: readonly Field[]): Fields => collectLines(lines, new Collected());

/** {@link linkFields} of lines whose values were looked through when they came, all at once. */
export const plainLinkFields = (lines: readonly PlainField[]): Fields =>
  collectLines(lines, new Collected(true));

function collectLines(lines: readonly Field[], collected: Collected): Fields {
  requireFew(lines.length);
  for (const [written, value] of lines) {
    if (written === 'content-length') continue; // framing: the transport enforces it
    const facts = nameFacts(written);
    if (facts.dropped) throw new Denied('header.malformed', `${quoted(written)} on the link`);
    if (facts.twin) throw new Denied('header.reserved', `${quoted(written)} on the link`);
    collected.add(facts, written, value, false);
  }
  return collected.finish();
}

/** Header lines of the service's answer: hop-by-hop ones, our names and cookies are left behind. */
export function serviceFields(raw: readonly string[]): Fields {
  requireFew(raw.length / 2);
  const collected = new Collected();
  let ours = false;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const written = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    const facts = nameFacts(written);
    if (facts.ours) ours = true;
    if (facts.dropped) collected.drop(facts, written, value);
    else collected.add(facts, written, value, true);
  }
  const fields = collected.finish();
  return ours ? fields.filter(([name]) => !nameFacts(name).ours) : fields;
}

/** `Connection` may name fields of this hop only; naming another asks us to lose it on the way (attack class V4). */
function requireHopByHop(tokens: string): void {
  for (const token of tokens.split(',')) {
    const name = token.trim().toLowerCase();
    if (name !== 'close' && name !== '' && !HOP_BY_HOP.has(name)) {
      throw new Denied('header.hop_by_hop', quoted(name));
    }
  }
}
