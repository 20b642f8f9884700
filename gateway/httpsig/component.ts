import { MalformedBytes, quoted } from '../core/errors.ts';

/**
 * A component identifier (RFC 9421 §2): what one line of the signature base is about. `sf` and `bs` are refused: they
 * need the type of every field, and field lines before they were joined; we sign the canonical value as it is.
 */
export interface Component {
  /** Lower-case field name, or the name of a derived component with its `@`. */
  readonly name: string;
  /** Taken from the request that a response answers (§2.4). */
  readonly req?: true;
  /** Taken from the trailers, and from nowhere else (§2.1.4). */
  readonly tr?: true;
  /** Member of a dictionary field (§2.1.2). */
  readonly key?: string;
  /** Percent-encoded name of a query parameter; on the wire the parameter `name` of `@query-param` (§2.2.8). */
  readonly param?: string;
}

/** Derived components that we can resolve. The others depend on scheme or HTTP version, which differ between hops. */
const REQUEST_DERIVED: ReadonlySet<string> = new Set([
  '@method',
  '@authority',
  '@path',
  '@query',
  '@query-param',
]);

/** Lower-case field names (RFC 9110 §5.6.2): no character that an sf-string escapes, so the spelling is the name itself. */
const FIELD_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;

const NOT_SF_STRING = /[^\x20-\x7e]/;

/**
 * The one spelling of a component identifier: `"content-digest";req;tr`. Parameters stand in the order `req`, `tr`,
 * `key`, `name`; RFC 9421 leaves the order open, so two spellings would name one component.
 * @throws MalformedBytes when the parameters do not go together, or nothing could have that name
 */
export function formatComponent(component: Component): string {
  const { name, key, param } = component;
  if (name.charCodeAt(0) === 0x40 /* @ */) requireDerived(component);
  else if (param !== undefined || !FIELD_NAME.test(name))
    throw new MalformedBytes(`component ${quoted(name)}`);
  let text = `"${name}"`;
  if (component.req === true) text += ';req';
  if (component.tr === true) text += ';tr';
  if (key !== undefined) text += `;key=${formatString(key)}`;
  if (param !== undefined) text += `;name=${formatString(param)}`;
  return text;
}

function requireDerived({ name, req, tr, key, param }: Component): void {
  const known = name === '@status' ? req !== true : REQUEST_DERIVED.has(name);
  if (!known) throw new MalformedBytes(`derived component ${quoted(name)} is not supported here`);
  if (tr === true || key !== undefined) throw new MalformedBytes(`${name} takes neither tr nor key`);
  if ((param !== undefined) !== (name === '@query-param'))
    throw new MalformedBytes(`${name} and parameter name`);
}

/**
 * A string as a structured field spells it (RFC 8941 §4.1.6).
 * @throws MalformedBytes for anything but visible ASCII and space
 */
export function formatString(text: string): string {
  if (NOT_SF_STRING.test(text)) throw new MalformedBytes(`not an sf-string: ${quoted(text)}`);
  if (!text.includes('"') && !text.includes('\\')) return `"${text}"`;
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
}
