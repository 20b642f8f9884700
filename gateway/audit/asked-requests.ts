import { MalformedBytes } from '../core/errors.ts';
import { sha256Base64 } from '../core/bytes.ts';
import { PassingMap } from '../core/passing.ts';
import { EXCHANGE } from '../message/exchange-field.ts';
import { DIGEST, INPUT } from '../message/profile.ts';
import type { ExchangeRecord } from './records.ts';
import { readBase } from './signatures.ts';

/** What an answer covers of its request beside what opened it, by the names of the lines in the request's own text. */
const REQUEST_LINES = ['"@method"', '"@authority"', '"@path"', '"@query"', `"${EXCHANGE}"`];

/** More than a gateway has under way at once: a log that asks and asks must not fill the auditor's memory. */
const MAX_ASKED = 131_072;

type Label = 'open' | 'final';

/** Digests of what was asked and what was answered, as far as it is told. */
interface Asked {
  readonly request: Partial<Record<Label, string>>;
  answer?: { readonly label: Label; readonly to: string };
}

/**
 * Requests of a log and what its answers are tied to. The signature of an answer covers the lines of one request: that it is the
 * one in the log does not follow from their common exchange id, which the consumer chose.
 */
export class AskedRequests {
  readonly #asked = new PassingMap<string, Asked>();

  /**
   * To be told each message whose text can be read.
   * @param kept what was signed, or of it what is not sealed: no more is needed
   * @returns false: which request it answers is not known so far
   * @throws MalformedBytes an answer to another request than the one recorded
   */
  read(record: ExchangeRecord, kept: string): boolean {
    const key = keyOf(record);
    const asked = this.#asked.get(key) ?? { request: {} };
    const lines = readBase(kept);
    if (record.k === 'res.final') asked.answer = answered(lines);
    else asked.request[record.k === 'open' ? 'open' : 'final'] = requested(lines, record.k === 'open');
    const { request, answer } = asked;
    const known = answer === undefined ? undefined : request[answer.label];
    if (known === undefined) this.#keep(key, asked);
    else this.#asked.delete(key);
    if (known !== undefined && known !== answer?.to)
      throw new MalformedBytes('the answer was signed for another request than the one recorded');
    return record.k !== 'res.final' || known !== undefined;
  }

  #keep(key: string, asked: Asked): void {
    this.#asked.set(key, asked);
    const { oldest } = this.#asked;
    if (this.#asked.size > MAX_ASKED && oldest !== undefined) this.#asked.delete(oldest);
  }
}

const requested = (lines: ReadonlyMap<string, string>, open: boolean): string =>
  digestOf([
    ...REQUEST_LINES.map((name) => lines.get(name)),
    open ? undefined : (lines.get(`"${DIGEST}"`) ?? lines.get(`"${DIGEST}";tr`)),
    lines.get('"@signature-params"'),
  ]);

function answered(lines: ReadonlyMap<string, string>): Asked['answer'] & object {
  const input = (params: string): string | undefined => lines.get(`"${INPUT}";req${params}`);
  const final = input(';key="final"') ?? input(';tr;key="final"');
  const digest = lines.get(`"${DIGEST}";req`) ?? lines.get(`"${DIGEST}";req;tr`);
  const to = digestOf([
    ...REQUEST_LINES.map((name) => lines.get(`${name};req`)),
    final === undefined ? undefined : digest, // an answer that overtakes its request is tied to what opened that
    final ?? input(';key="open"'),
  ]);
  return { label: final === undefined ? 'open' : 'final', to };
}

/** One gateway may stand at both ends of an exchange. */
const keyOf = ({ x, role, me }: ExchangeRecord): string => `${x} ${role} ${me}`;

/** No value holds a line feed. */
const digestOf = (lines: readonly (string | undefined)[]): string =>
  sha256Base64(lines.map((line) => line ?? '').join('\n'));
