import { MalformedBytes, quoted } from '../core/errors.ts';
import { fieldValue, NO_FIELDS } from '../core/fields.ts';
import { hasControls, inOnePiece, isAscii, isPlain } from '../core/plain-text.ts';
import { formatComponent, type Component } from './component.ts';
import { queryParam } from './query-param.ts';
import { formatParams, parseSignatureInput, type SignatureParams } from './signature-input.ts';
import { dictionaryMember } from './structured.ts';
import { readUsualMember } from './usual-input.ts';
import type { MessageView, RequestView } from './view.ts';

/** Derived-component-value of §2.5: printable ASCII. */
const NOT_DERIVED_VALUE = /[^\x20-\x7e]/;

/** One line of a base, as far as it is the same for every message. */
interface Line {
  readonly component: Component;
  /** What stands before the value, the end of the line before included. */
  readonly opening: string;
  readonly derived: boolean;
}

/**
 * A list of covered components, checked and spelled once for all messages that have the same: what is left for each of
 * them is its values.
 */
export class Coverage {
  /** `("@method" "content-digest";tr)`: what the parameters stand behind in a member value of `Signature-Input`. */
  readonly list: string;
  readonly #lines: readonly Line[];
  readonly #closing: string;

  /** @throws MalformedBytes for a component that is repeated or not known */
  constructor(components: readonly Component[]) {
    const identifiers = new Set<string>();
    this.#lines = components.map((component) => {
      const identifier = formatComponent(component);
      if (identifiers.has(identifier)) throw new MalformedBytes(`component ${quoted(identifier)} twice`);
      identifiers.add(identifier);
      return {
        component: { ...component },
        opening: inOnePiece(`${identifiers.size === 1 ? '' : '\n'}${identifier}: `),
        derived: component.name.charCodeAt(0) === 0x40, // @
      };
    });
    this.list = inOnePiece(`(${[...identifiers].join(' ')})`);
    this.#closing = inOnePiece(`${identifiers.size === 0 ? '' : '\n'}"@signature-params": ${this.list}`);
  }

  /**
   * The signature base (RFC 9421 §2.5): one line a component, LF between, none at the end, ASCII only.
   * @param params what stands behind {@link list} in the member value of `Signature-Input`
   * @throws MalformedBytes for a component that is not in the message
   */
  base(view: MessageView, params: string): string {
    let base = '';
    for (const { component, opening, derived } of this.#lines) {
      const value = componentValue(view, component);
      // A line end in a value would forge the lines after it.
      if (derived ? NOT_DERIVED_VALUE.test(value) : value.includes('\n')) throw refused(component, value);
      base += opening + value;
    }
    base += this.#closing + params;
    // Field-content of §2.5 is printable ASCII and tabs. All lines at once: the line ends that are left are ours.
    if (!areParams(params) || hasControls(base) || base.includes('\r') || !isAscii(base))
      throw this.#fault(view, params);
    return base;
  }

  #fault(view: MessageView, params: string): MalformedBytes {
    const bad = this.#lines.find(({ component }) => !isPlain(componentValue(view, component)));
    return bad === undefined
      ? new MalformedBytes(`signature parameters ${quoted(params)}`)
      : refused(bad.component, componentValue(view, bad.component));
  }
}

/** True when they begin as parameters do and stay in their line. */
const areParams = (text: string): boolean =>
  text === '' || (text.charCodeAt(0) === 0x3b /* ; */ && !text.includes('\n') && !text.includes('\t'));

/**
 * The signature base of one message.
 * @param params the parameters, or the text of a `Signature-Input` member value, which must list these very components
 * @throws MalformedBytes for a component that is repeated, not known or not in the message
 */
export function signatureBase(
  view: MessageView,
  components: readonly Component[],
  params: string | SignatureParams,
): string {
  const coverage = new Coverage(components);
  if (typeof params !== 'string') return coverage.base(view, formatParams(params));
  // The lines and the list are one statement: a text that lists other components would be signed as if it were covered.
  if (!params.startsWith(coverage.list))
    throw new MalformedBytes(`${quoted(params)} does not list ${quoted(coverage.list, 400)}`);
  return coverage.base(view, params.slice(coverage.list.length));
}

const refused = (component: Component, value: string): MalformedBytes =>
  new MalformedBytes(`value of ${quoted(formatComponent(component))}: ${quoted(value)}`);

function componentValue(view: MessageView, component: Component): string {
  if (component.req !== true) return valueIn(view, component);
  if (view.kind !== 'response') throw new MalformedBytes('req in a request');
  if (view.request === undefined) throw new MalformedBytes('req without the request');
  return valueIn(view.request, component);
}

function valueIn(view: MessageView, component: Component): string {
  const { name, key } = component;
  if (name.charCodeAt(0) === 0x40 /* @ */) {
    if (view.kind === 'request') return requestValue(view, component);
    if (name === '@status') return statusText(view.status);
    throw new MalformedBytes(`${name} in a response`);
  }
  // Two bags: a trailer that a hop merged into the headers is not found, and the signature fails.
  const bag = component.tr === true ? (view.trailers ?? NO_FIELDS) : view.fields;
  const value = fieldValue(bag, name);
  if (value === undefined)
    throw new MalformedBytes(`no ${component.tr === true ? 'trailer' : 'field'} ${quoted(name)}`);
  if (key === undefined) return value;
  return name === 'signature-input' ? signatureInputMember(value, key) : dictionaryMember(value, key);
}

function requestValue(view: RequestView, { name, param }: Component): string {
  switch (name) {
    case '@method':
      return view.method;
    case '@authority':
      return view.authority;
    case '@path':
      return view.path === '' ? '/' : view.path;
    case '@query':
      return queryText(view.query);
    case '@query-param':
      return queryParam(view.query, param as string); // formatComponent has refused it without
    default:
      throw new MalformedBytes(`${name} in a request`);
  }
}

function queryText(query: string): string {
  if (query === '') return '?';
  if (query.charCodeAt(0) !== 0x3f /* ? */) throw new MalformedBytes(`query without ?: ${quoted(query)}`);
  return query;
}

function statusText(status: number): string {
  if (!Number.isInteger(status) || status < 100 || status > 999) throw new MalformedBytes(`status ${status}`);
  return String(status);
}

/** What a response covers of the request's signature: hot, so the text is cut out instead of parsed and written again. */
function signatureInputMember(text: string, label: string): string {
  const usual = readUsualMember(text, label);
  if (usual !== undefined) return usual;
  const input = parseSignatureInput(text).get(label);
  if (input === undefined) throw new MalformedBytes(`no signature-input member ${quoted(label)}`);
  return input.raw;
}
