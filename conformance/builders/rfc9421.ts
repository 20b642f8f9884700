import { readdirSync, readFileSync } from 'node:fs';
import type { Field, Fields } from '../../gateway/core/fields.ts';
import type { RequestView, ResponseView } from '../../gateway/httpsig/view.ts';

type Lines = readonly (readonly [name: string, value: string])[];

interface VectorRequest {
  readonly method: string;
  readonly target: string;
  readonly authority: string;
  readonly fields: Lines;
}

interface VectorResponse {
  readonly status: number;
  readonly fields: Lines;
}

/** One example of RFC 9421 as the files under `vectors/rfc9421` hold it. */
export interface Rfc9421Vector {
  readonly file: string;
  readonly source: string;
  readonly label: string;
  readonly key: string;
  readonly algorithm: string;
  readonly valid: boolean;
  readonly base?: string;
  readonly request?: VectorRequest;
  readonly response?: VectorResponse;
}

export interface Rfc9421Key {
  readonly publicKey: string;
  readonly privateKey: string;
  readonly secret: string;
}

const FOLDER = new URL('../vectors/rfc9421/', import.meta.url);

const readJson = (file: string): unknown => JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8'));

export function rfc9421Vectors(): readonly Rfc9421Vector[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.json') && file !== 'keys.json')
    .toSorted()
    .map((file) => ({ ...(readJson(file) as Omit<Rfc9421Vector, 'file'>), file })); // our own data file
}

export function rfc9421Key(kid: string): Rfc9421Key {
  const { keys } = readJson('keys.json') as { keys: Record<string, Rfc9421Key> }; // our own data file
  const key = keys[kid];
  if (key === undefined) throw new Error(`no key ${kid}`);
  return key;
}

/**
 * Field lines as a parser sees them, made canonical: names in lower case, white space around values cut, lines of one
 * name joined in order with `, ` (RFC 9421 §2.1).
 */
export function canonicalFields(lines: Lines): Fields {
  const joined = new Map<string, string>();
  for (const [name, value] of lines) {
    const lower = name.toLowerCase();
    const trimmed = value.replaceAll(/^[ \t]+|[ \t]+$/g, '').replaceAll(/\r\n[ \t]+/g, ' ');
    const before = joined.get(lower);
    joined.set(lower, before === undefined ? trimmed : `${before}, ${trimmed}`);
  }
  return [...joined].map(([name, value]): Field => [name, value]);
}

export function requestView({ method, target, authority, fields }: VectorRequest): RequestView {
  const mark = target.indexOf('?');
  return {
    kind: 'request',
    method,
    authority,
    path: mark < 0 ? target : target.slice(0, mark),
    query: mark < 0 ? '' : target.slice(mark),
    fields: canonicalFields(fields),
  };
}

/** The message that a vector is about, with its request when it is a response. */
export function vectorView({ request, response }: Rfc9421Vector): RequestView | ResponseView {
  const asked = request === undefined ? undefined : requestView(request);
  if (response !== undefined) {
    const { status, fields } = response;
    const own = { kind: 'response', status, fields: canonicalFields(fields) } as const;
    return asked === undefined ? own : { ...own, request: asked };
  }
  if (asked === undefined) throw new Error('a vector without a message');
  return asked;
}
