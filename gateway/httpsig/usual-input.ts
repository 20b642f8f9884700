import { fromBase64 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import type { Fields } from '../core/fields.ts';
import { Scanner } from './scanner.ts';
import { endOfRecentList, formatParams, scanParams, type SignatureParams } from './signature-input.ts';

/** One signature as {@link readUsual} reads it. */
export interface UsualSignature {
  readonly params: SignatureParams;
  /** Exact text of the member value of `Signature-Input`. */
  readonly raw: string;
  /** As received; untrusted until verified. */
  readonly signature: Uint8Array;
  /** The same in base64, as received. */
  readonly value: string;
}

/**
 * Reads the signature of a bag that has one, over the components that are expected, spelled as we spell it. That is every
 * message of a gateway like ours, and it costs a few comparisons. Undefined says nothing of the bag: ask
 * `parseSignatures`, which reads whatever may be read, the same way, and knows what is wrong with the rest.
 * @param list the components, as `Coverage` spells them
 */
export function readUsual(fields: Fields, label: string, list: string): UsualSignature | undefined {
  let input: string | undefined;
  let signatures: string | undefined;
  for (const [name, value] of fields) {
    if (name === 'signature-input') {
      if (input !== undefined) return undefined;
      input = value;
    } else if (name === 'signature') {
      if (signatures !== undefined) return undefined;
      signatures = value;
    }
  }
  if (input === undefined || signatures === undefined) return undefined;
  // Compared as whole texts, which is a comparison of words; `startsWith` goes character by character.
  const listEnd = label.length + 1 + list.length;
  if (input.slice(label.length + 1, listEnd) !== list) return undefined;
  const params = readParams(input, label, listEnd);
  if (params === undefined || !signatures.startsWith(label) || !signatures.startsWith('=:', label.length))
    return undefined;
  const start = label.length + 2;
  const value = signatures.slice(start, -1);
  const signature = fromBase64(value);
  if (signature === undefined || signatures.length <= start || !signatures.endsWith(':')) return undefined;
  return { params, raw: input.slice(label.length + 1), signature, value };
}

/** The value of the one member of `Signature-Input`, if it is spelled as we spell it. Undefined says nothing. */
export function readUsualMember(text: string, label: string): string | undefined {
  const listEnd = endOfRecentList(text, label.length + 1);
  if (listEnd === 0 || readParams(text, label, listEnd) === undefined) return undefined;
  return text.slice(label.length + 1);
}

/**
 * What is a message's own of the parameters. Times from 2001 to 2286, so that none has a second spelling; a nonce without
 * escapes, so that its end is the next quote.
 */
const OWN = /;created=([1-9]\d{9});expires=([1-9]\d{9});nonce="([\x20\x21\x23-\x5b\x5d-\x7e]*)"/y;

/** Parameters of a text that is the one member, with all that a message of ours has: time, nonce, key and use. */
function readParams(text: string, label: string, listEnd: number): SignatureParams | undefined {
  if (!text.startsWith(label) || text.charCodeAt(label.length) !== 0x3d /* = */) return undefined;
  OWN.lastIndex = listEnd;
  const own = OWN.exec(text);
  if (own === null) return undefined;
  const ending = endingOf(text.slice(listEnd + own[0].length));
  if (ending === undefined) return undefined;
  const { alg, keyid, tag } = ending;
  return { created: Number(own[1]), expires: Number(own[2]), nonce: own[3], alg, keyid, tag };
}

/** What comes behind the nonce: the same in all messages of a key. */
type Ending = Pick<SignatureParams, 'alg' | 'keyid' | 'tag'>;

/** Endings kept: each peer has its keys, each of them two uses and two forms. 128 bytes each, or as many as a head may have. */
const MAX_ENDINGS = 256;
const endings = new Map<string, Ending>();
/**
 * The two that came last, of a peer's answers and of our own requests, which they cover: comparing costs a sixth of
 * looking up.
 */
let latest: readonly [text: string, ending: Ending] | undefined;
let before: typeof latest;

function endingOf(text: string): Ending | undefined {
  if (latest !== undefined && latest[0] === text) return latest[1];
  if (before !== undefined && before[0] === text) return before[1];
  let ending = endings.get(text);
  if (ending === undefined) {
    ending = newEnding(text);
    if (ending === undefined) return undefined;
    if (endings.size === MAX_ENDINGS) endings.clear();
    endings.set(formatParams(ending), ending); // not the text itself, a piece of a field, which would keep all of it
  }
  before = latest;
  latest = [text, ending];
  return ending;
}

/** Longer ones are left to the full reader. */
const MAX_ENDING = 1024;

function newEnding(text: string): Ending | undefined {
  if (text.length > MAX_ENDING) return undefined;
  // Characters of its own: a piece of a field would keep the whole field.
  const scanner = new Scanner(Buffer.from(text, 'utf8').toString('utf8'));
  let params: SignatureParams;
  try {
    params = scanParams(scanner);
  } catch (cause) {
    if (cause instanceof MalformedBytes) return undefined;
    throw cause;
  }
  const { alg, keyid, tag } = params;
  const ending = { alg, keyid, tag };
  return scanner.ended && formatParams(ending) === text ? ending : undefined;
}
