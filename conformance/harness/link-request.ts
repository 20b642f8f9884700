import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { base64, sha256Base64 } from '../../gateway/core/bytes.ts';
import type { Field, Fields } from '../../gateway/core/fields.ts';
import { newExchangeId } from '../../gateway/core/ids.ts';
import { signBase } from '../../gateway/httpsig/algorithm.ts';
import { signatureBase } from '../../gateway/httpsig/base.ts';
import type { Component } from '../../gateway/httpsig/component.ts';
import { formatContentDigest } from '../../gateway/httpsig/digest.ts';
import { formatSignatureInput } from '../../gateway/httpsig/signature-input.ts';
import type { RequestView } from '../../gateway/httpsig/view.ts';
import { BATCH_ALG } from '../../gateway/message/batch.ts';
import { EXCHANGE, formatEnd, formatExchange, END, type Mode } from '../../gateway/message/exchange-field.ts';
import {
  DIGEST,
  INPUT,
  requestComponents,
  SIGNATURE,
  TAG,
  type Label,
} from '../../gateway/message/profile.ts';
import { messageAlgorithm, messageKeyId } from '../../gateway/registry/keys.ts';
import { forgedBatch, type BatchArgs } from './batch-forgery.ts';
import type { Subject } from './sandbox.ts';

/** A request between gateways before anything was done to it, and how its signature is to be wrong. */
export interface LinkRequestArgs {
  readonly method?: string;
  /** Raw `:path`, query included. Default: the service that sees nothing before all is verified. */
  readonly path?: string;
  readonly authority?: string;
  readonly body?: string | { readonly repeat: string; readonly times: number };
  readonly mode?: Mode;
  /** Whether a stream announces its length in `T-Road-Exchange`. */
  readonly announced?: boolean;
  /** Fields besides the usual ones; an empty value leaves a usual one out. */
  readonly fields?: Readonly<Record<string, string>>;
  /** Names in `T-Road-Exchange`. */
  readonly from?: string;
  readonly to?: string;
  /** Who signs: agency A's registered key, one that no registry lists, or (under A's name) a key of agency B. */
  readonly key?: 'registered' | 'unknown' | 'provider';
  /** `{{kid}}` stands for the id of the registered key. */
  readonly kid?: string;
  readonly createdInSeconds?: number;
  readonly lifetimeSeconds?: number;
  readonly nonce?: string;
  readonly label?: string;
  readonly tag?: string;
  /** Components left out of the signature, by name. */
  readonly uncovered?: readonly string[];
  readonly uncoveredAtEnd?: readonly string[];
  /** Signed together with messages that nobody sends. */
  readonly batch?: BatchArgs;
}

/** A request ready to be sent, and to be tampered with before that. */
export interface LinkRequest {
  method: string;
  path: string;
  authority: string;
  fields: Field[];
  body: Buffer;
  /** Content-Length of an honest sender in `full` mode. */
  readonly length: number | undefined;
  /** Undefined: the message ends with its content. */
  trailers: Field[] | undefined;
}

/** Everything that a thief of agency A's machine has. */
export interface StolenKeys {
  readonly name: string;
  readonly provider: string;
  readonly tls: { readonly key: Buffer; readonly cert: Buffer; readonly ca: Buffer };
  readonly message: Buffer;
  readonly providerMessage: Buffer;
}

export function stolenKeys({ ready }: Subject): StolenKeys {
  const read = (agency: string, file: string): Buffer =>
    readFileSync(join(ready.dir, 'agencies', agency, file));
  return {
    name: nameIn(read('a11', 'link.pem')),
    provider: nameIn(read('b07', 'link.pem')),
    tls: { key: read('a11', 'link.key'), cert: read('a11', 'link.pem'), ca: read('a11', 'ca.pem') },
    message: read('a11', 'message.key'),
    providerMessage: read('b07', 'message.key'),
  };
}

const nameIn = (pem: Buffer): string => (new X509Certificate(pem).subjectAltName ?? '').replace(/^DNS:/, '');

/** Makes a request exactly as agency A's gateway would, but for what the arguments ask to be different. */
export function linkRequest(args: LinkRequestArgs, keys: StolenKeys, now: number): LinkRequest {
  const { method = 'POST', path = '/r1/TW/GOV/B07/housing/verified', mode = 'full' } = args;
  const { authority = keys.provider, from = keys.name, to = keys.provider, body = 'hello' } = args;
  const content = Buffer.from(typeof body === 'string' ? body : body.repeat.repeat(body.times), 'latin1');
  const id = newExchangeId(randomBytes);
  const length = mode === 'full' || args.announced === true ? { length: content.length } : {};
  const usual: Record<string, string> = {
    accept: 'application/problem+json',
    'content-type': 'text/plain',
    'x-road-client': 'TW/GOV/A11/welfare',
    'x-road-id': `attack-${id}`,
    [EXCHANGE]: formatExchange({ id, mode, from, to, at: now, ...length }),
    ...args.fields,
  };
  const plain = Object.entries(usual).filter(([, value]) => value !== '');
  const digest: Field = [DIGEST, formatContentDigest(sha256Base64(content))];
  const headers: Fields = mode === 'full' ? [...plain, digest] : plain;
  const mark = path.indexOf('?');
  const view: RequestView = {
    kind: 'request',
    method,
    authority,
    path: mark < 0 ? path : path.slice(0, mark),
    query: mark < 0 ? '' : path.slice(mark),
    fields: headers,
  };
  const label: Label = mode === 'full' ? 'final' : 'open';
  const sign = signer(args, keys, id, now);
  const fields = [...headers, ...sign(view, requestComponents(headers, mode, label), label, args.uncovered)];
  const request = { method, path, authority, fields, body: content };
  if (mode === 'full') return { ...request, length: content.length, trailers: undefined };
  const end: Fields = [digest, [END, formatEnd(content.length)]];
  const ending = { ...view, fields, trailers: end };
  const components = requestComponents(fields, mode, 'final');
  return {
    ...request,
    length: undefined,
    trailers: [...end, ...sign(ending, components, 'final', args.uncoveredAtEnd)],
  };
}

type Sign = (
  view: RequestView,
  components: readonly Component[],
  label: Label,
  uncovered?: readonly string[],
) => Fields;

function signer(args: LinkRequestArgs, keys: StolenKeys, id: string, now: number): Sign {
  const key =
    args.key === 'unknown'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
      : createPrivateKey(args.key === 'provider' ? keys.providerMessage : keys.message);
  const algorithm = messageAlgorithm(createPublicKey(key));
  const registered = messageKeyId(keys.name, createPublicKey(keys.message));
  const created = Math.floor(now / 1000) + (args.createdInSeconds ?? 0);
  const expires = created + (args.lifetimeSeconds ?? 60);
  const keyid = args.kid?.replace('{{kid}}', registered) ?? messageKeyId(keys.name, createPublicKey(key));
  return (view, components, label, uncovered = []) => {
    const covered = components.filter(({ name }) => !uncovered.includes(name));
    const tag = args.tag ?? TAG[label];
    const { batch } = args;
    const { alg } = batch === undefined ? {} : { alg: BATCH_ALG, ...batch };
    const input = formatSignatureInput(covered, {
      created,
      expires,
      nonce: args.nonce ?? id,
      ...(alg === undefined || alg === '' ? {} : { alg }),
      keyid,
      tag,
    });
    const base = signatureBase(view, covered, input);
    const signed = (text: string): Uint8Array => signBase(algorithm, key, text);
    const value = base64(batch === undefined ? signed(base) : forgedBatch(batch, base, signed));
    const name = args.label ?? label;
    return [
      [INPUT, `${name}=${input}`],
      [SIGNATURE, `${name}=:${value}:`],
    ];
  };
}
