import { view } from '../../gateway/core/bytes.ts';
import type { Field } from '../../gateway/core/fields.ts';
import { SIGNATURE } from '../../gateway/message/profile.ts';
import { twinOf } from '../builders/ecdsa-twin.ts';
import type { LinkRequest } from './link-request.ts';

/** Where a signature stands. */
type Place = 'head' | 'trailers';

/** One change to a request that was signed already: what somebody on the way, or a broken sender, could do. */
export type Tampering =
  | { readonly method: string }
  | { readonly path: string }
  | { readonly authority: string }
  /** Replaces a header field's value, or adds the field. */
  | { readonly set: Field }
  /** Adds a field line, whether there is one or not. */
  | { readonly add: Field }
  | { readonly drop: string }
  | { readonly body: string }
  /** Flips the lowest bit of the byte; counted from the end when negative. */
  | { readonly flipBody: number }
  | { readonly cutBody: number }
  | { readonly appendBody: string }
  /** Flips a bit of the signature itself. */
  | { readonly flipSignature: Place }
  /** Replaces an ECDSA signature, or that of a batch's root, by the other one that the same key could have made: n − s for s. */
  | { readonly twinSignature: Place }
  | { readonly trailers: 'none' | 'twice' | 'early' }
  | { readonly setTrailer: Field }
  | { readonly dropTrailer: string };

/** Changes the request in place. */
export function tamper(request: LinkRequest, change: Tampering): void {
  if ('method' in change) request.method = change.method;
  else if ('path' in change) request.path = change.path;
  else if ('authority' in change) request.authority = change.authority;
  else if ('set' in change) request.fields = replaced(request.fields, change.set);
  else if ('add' in change) request.fields.push(change.add);
  else if ('drop' in change) request.fields = request.fields.filter(([name]) => name !== change.drop);
  else if ('body' in change) request.body = Buffer.from(change.body, 'latin1');
  else if ('flipBody' in change) request.body = flipped(request.body, change.flipBody);
  else if ('cutBody' in change) request.body = request.body.subarray(0, change.cutBody);
  else if ('appendBody' in change)
    request.body = Buffer.concat([request.body, Buffer.from(change.appendBody)]);
  else if ('flipSignature' in change)
    changeSignature(request, change.flipSignature, (bytes) => flipped(bytes, 20));
  else if ('twinSignature' in change) changeSignature(request, change.twinSignature, twinOf);
  else if ('setTrailer' in change) request.trailers = replaced(request.trailers ?? [], change.setTrailer);
  else if ('dropTrailer' in change) {
    request.trailers = (request.trailers ?? []).filter(([name]) => name !== change.dropTrailer);
  } else if (change.trailers === 'none') request.trailers = undefined;
  else if (change.trailers === 'twice')
    request.trailers = [...(request.trailers ?? []), ...(request.trailers ?? [])];
  else request.fields = [...request.fields, ...(request.trailers ?? [])];
}

/** In its place: the order of fields is signed. */
const replaced = (fields: readonly Field[], changed: Field): Field[] =>
  fields.some(([name]) => name === changed[0])
    ? fields.map((field) => (field[0] === changed[0] ? changed : field))
    : [...fields, changed];

function flipped(bytes: Uint8Array, index: number): Buffer {
  const copy = Buffer.from(bytes);
  const at = index < 0 ? copy.length + index : index;
  copy[at] = (copy[at] ?? 0) ^ 1;
  return view(copy);
}

function changeSignature(request: LinkRequest, where: Place, change: (bytes: Buffer) => Buffer): void {
  const bag = where === 'head' ? request.fields : (request.trailers ?? []);
  const value = bag.find(([name]) => name === SIGNATURE)?.[1] ?? '';
  const [, label = '', signature = ''] = /^([a-z]+)=:(.*):$/.exec(value) ?? [];
  const broken = change(Buffer.from(signature, 'base64')).toString('base64');
  const changed = replaced(bag, [SIGNATURE, `${label}=:${broken}:`]);
  if (where === 'head') request.fields = changed;
  else request.trailers = changed;
}
