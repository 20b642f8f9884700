import type { EpochSeconds } from '../core/clock.ts';
import { MalformedBytes, quoted } from '../core/errors.ts';
import type { Fields } from '../core/fields.ts';
import { formatComponent, formatString, type Component } from './component.ts';
import { scanByteDictionary, scanDictionary, type Scanner } from './scanner.ts';

/** Signatures one bag of fields may carry: two uses, each with a classic and a post-quantum algorithm. */
export const MAX_SIGNATURES = 4;
/** Above the 100 fields a message may have, each with one component, and the derived ones. */
const MAX_COMPONENTS = 128;

/** Signature parameters (RFC 9421 §2.3). Unknown ones are refused: nobody here would enforce them. */
export interface SignatureParams {
  readonly created?: EpochSeconds | undefined;
  readonly expires?: EpochSeconds | undefined;
  readonly nonce?: string | undefined;
  /** Read for completeness. The algorithm is a property of the registered key, never of the message. */
  readonly alg?: string | undefined;
  readonly keyid?: string | undefined;
  readonly tag?: string | undefined;
}

export interface SignatureInput {
  readonly label: string;
  /** Covered components in the signer's order. */
  readonly components: readonly Component[];
  readonly params: SignatureParams;
  /** Exact text of the member value: the value of `@signature-params`. */
  readonly raw: string;
}

export interface ParsedSignature {
  readonly input: SignatureInput;
  /** As received; untrusted until verified. */
  readonly signature: Uint8Array;
}

/**
 * The member value of `Signature-Input`: covered components, then the parameters that are present in the order
 * created, expires, nonce, alg, keyid, tag.
 * @throws MalformedBytes
 */
export function formatSignatureInput(components: readonly Component[], params: SignatureParams): string {
  let list = '';
  for (const component of components)
    list += list === '' ? formatComponent(component) : ` ${formatComponent(component)}`;
  return `(${list})${formatParams(params)}`;
}

/** The parameters, as they stand behind the list of components. @throws MalformedBytes */
export function formatParams({ created, expires, nonce, alg, keyid, tag }: SignatureParams): string {
  let text = '';
  if (created !== undefined) text += `;created=${formatNatural(created)}`;
  if (expires !== undefined) text += `;expires=${formatNatural(expires)}`;
  if (nonce !== undefined) text += `;nonce=${formatString(nonce)}`;
  if (alg !== undefined) text += `;alg=${formatString(alg)}`;
  if (keyid !== undefined) text += `;keyid=${formatString(keyid)}`;
  if (tag !== undefined) text += `;tag=${formatString(tag)}`;
  return text;
}

function formatNatural(value: number): string {
  if (!Number.isInteger(value) || value < 0 || value > 999_999_999_999_999) {
    throw new MalformedBytes(`${value} is not a time in whole seconds`);
  }
  return String(value);
}

/**
 * Reads `Signature-Input` and `Signature` of one bag: the headers or the trailers, never both together. Each label
 * stands once in each of the two fields. No signature at all gives the empty map.
 * @throws MalformedBytes
 */
export function parseSignatures(fields: Fields): ReadonlyMap<string, ParsedSignature> {
  const inputText = onlyValue(fields, 'signature-input');
  const signatureText = onlyValue(fields, 'signature');
  const parsed = new Map<string, ParsedSignature>();
  if (inputText === undefined && signatureText === undefined) return parsed;
  if (inputText === undefined || signatureText === undefined) {
    throw new MalformedBytes('one of signature-input and signature is missing');
  }
  const inputs = parseSignatureInput(inputText);
  const signatures = scanByteDictionary(signatureText, MAX_SIGNATURES);
  if (inputs.size !== signatures.size)
    throw new MalformedBytes('labels of signature-input and signature differ');
  for (const [label, input] of inputs) {
    const signature = signatures.get(label);
    if (signature === undefined)
      throw new MalformedBytes(`signature-input ${quoted(label)} has no signature`);
    parsed.set(label, { input, signature });
  }
  return parsed;
}

/** Fields have unique names by contract; a verifier that relied on it would have two readings if it were broken. */
function onlyValue(fields: Fields, name: string): string | undefined {
  let value: string | undefined;
  for (const field of fields) {
    if (field[0] !== name) continue;
    if (value !== undefined) throw new MalformedBytes(`two fields ${name}`);
    value = field[1];
  }
  return value;
}

/**
 * Reads a `Signature-Input` field value in its one spelling.
 * @throws MalformedBytes also for unknown parameters, of components and of the signature
 */
export function parseSignatureInput(text: string): ReadonlyMap<string, SignatureInput> {
  return scanDictionary(text, MAX_SIGNATURES, (scanner, label) => {
    const start = scanner.position;
    const components = scanComponents(scanner);
    const params = scanParams(scanner);
    return { label, components, params, raw: scanner.since(start) };
  });
}

/** Lists kept of those that were read. A gateway meets a handful: few kinds of messages, few sets of fields. */
const MAX_LISTS = 8;

/**
 * Lists that were read lately, the last one first. A text that begins with a list that was read whole, its closing
 * parenthesis included, is read the same way again: the reader never looks ahead.
 */
const lists: (readonly [text: string, components: readonly Component[]])[] = [];

/** Where the list ends that begins at this place, if it was read lately; 0 says nothing. */
export function endOfRecentList(text: string, at: number): number {
  for (const [list] of lists) if (text.slice(at, at + list.length) === list) return at + list.length;
  return 0;
}

/**
 * Reads a list of component identifiers as it stands in a member value: `("@method" "content-digest";tr)`.
 * @throws MalformedBytes
 */
function scanComponents(scanner: Scanner): readonly Component[] {
  for (const [index, known] of lists.entries()) {
    if (!scanner.skip(known[0])) continue;
    if (index > 0) {
      lists.splice(index, 1);
      lists.unshift(known);
    }
    return known[1];
  }
  const start = scanner.position;
  const components = Object.freeze(scanNewComponents(scanner).map((component) => Object.freeze(component)));
  if (lists.length === MAX_LISTS) lists.pop();
  lists.unshift([scanner.since(start), components]);
  return components;
}

function scanNewComponents(scanner: Scanner): Component[] {
  const components: Component[] = [];
  scanner.expect('(');
  if (scanner.skip(')')) return components;
  do {
    if (components.length === MAX_COMPONENTS) throw new MalformedBytes(`over ${MAX_COMPONENTS} components`);
    components.push(scanComponent(scanner));
  } while (scanner.skip(' '));
  scanner.expect(')');
  return components;
}

function scanComponent(scanner: Scanner): Component {
  const start = scanner.position;
  const component: { -readonly [K in keyof Component]: Component[K] } = { name: scanner.string() };
  while (scanner.skip(';')) {
    const parameter = scanner.key();
    if (parameter === 'req') component.req = true;
    else if (parameter === 'tr') component.tr = true;
    else if (parameter === 'key') component.key = valueAfter(scanner);
    else if (parameter === 'name') component.param = valueAfter(scanner);
    else throw new MalformedBytes(`component parameter ${quoted(parameter)} is not supported here`);
  }
  // Repeated parameters, another order, and combinations that mean nothing are all spelled differently by us.
  const text = scanner.since(start);
  if (formatComponent(component) !== text)
    throw new MalformedBytes(`component ${quoted(text)} is not canonical`);
  return component;
}

function valueAfter(scanner: Scanner): string {
  scanner.expect('=');
  return scanner.string();
}

/** Reads parameters as they stand behind a list. @throws MalformedBytes */
export function scanParams(scanner: Scanner): SignatureParams {
  const params: { -readonly [K in keyof SignatureParams]: SignatureParams[K] } = {};
  // In our own order first: no name is cut out and looked at. Whatever stands otherwise is left for below.
  if (scanner.skip(';created=')) params.created = scanner.natural();
  if (scanner.skip(';expires=')) params.expires = scanner.natural();
  if (scanner.skip(';nonce=')) params.nonce = scanner.string();
  if (scanner.skip(';alg=')) params.alg = scanner.string();
  if (scanner.skip(';keyid=')) params.keyid = scanner.string();
  if (scanner.skip(';tag=')) params.tag = scanner.string();
  while (scanner.skip(';')) {
    const name = scanner.key();
    scanner.expect('=');
    switch (name) {
      case 'created':
      case 'expires':
        requireFirst(params[name], name);
        params[name] = scanner.natural();
        break;
      case 'nonce':
      case 'alg':
      case 'keyid':
      case 'tag':
        requireFirst(params[name], name);
        params[name] = scanner.string();
        break;
      default:
        throw new MalformedBytes(`signature parameter ${quoted(name)} is not supported here`);
    }
  }
  return params;
}

function requireFirst(value: unknown, name: string): void {
  if (value !== undefined) throw new MalformedBytes(`two parameters ${name}`);
}
