import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import t from 'tap';
import type { Fields } from '../core/fields.ts';
import { fieldValue } from '../core/fields.ts';
import { base64, base64url, sha256Base64 } from '../core/bytes.ts';
import { signBase, verifyBase } from './algorithm.ts';
import { signatureBase } from './base.ts';
import type { Component } from './component.ts';
import { formatContentDigest, parseContentDigest } from './digest.ts';
import { formatSignatureInput, parseSignatures } from './signature-input.ts';
import type { MessageView, RequestView, ResponseView } from './view.ts';

interface Example {
  readonly keys: { readonly consumer: string; readonly provider: string };
  readonly request: Omit<Required<RequestView>, 'kind'> & { readonly body: string };
  readonly response: Omit<ResponseView, 'kind'> & { readonly body: string };
}

const file = new URL('../../conformance/vectors/worked-example/exchange.json', import.meta.url);
const example = JSON.parse(readFileSync(file, 'utf8')) as Example; // our own data file

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

function keyPair(seed: string): { privateKey: KeyObject; publicKey: KeyObject; spki: Buffer } {
  // RFC 8410 §7: the fixed head of a PKCS #8 Ed25519 key, then the seed.
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), digest(seed)]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey);
  return { privateKey, publicKey, spki: publicKey.export({ format: 'der', type: 'spki' }) };
}

const { body: requestBody, ...requestHead } = example.request;
const { body: responseBody, ...responseHead } = example.response;
const request: RequestView = { kind: 'request', ...requestHead };
const response: ResponseView = { kind: 'response', ...responseHead, request };

const common: Component[] = [
  '@method',
  '@authority',
  '@path',
  '@query',
  'content-type',
  'zt-exchange',
  'zt-user',
  'zt-device',
  'zt-policy',
].map((name) => ({ name }));
const window = { created: 1795305600, expires: 1795305660, nonce: 'AZnzwqGyfU6PABEiM0RVZg' };

const parts: readonly {
  readonly what: string;
  readonly seed: string;
  readonly agency: string;
  readonly view: MessageView;
  readonly bag: Fields;
  readonly label: string;
  readonly components: readonly Component[];
  readonly params: {
    readonly created: number;
    readonly expires?: number;
    readonly nonce: string;
    readonly tag: string;
  };
  readonly baseBytes?: number;
}[] = [
  {
    what: 'open, in the headers of the request',
    seed: example.keys.consumer,
    agency: 'a21',
    view: request,
    bag: request.fields,
    label: 'open',
    components: common,
    params: { ...window, tag: 'zt1-open' },
  },
  {
    what: 'final, in the trailers of the request',
    seed: example.keys.consumer,
    agency: 'a21',
    view: request,
    bag: example.request.trailers,
    label: 'final',
    components: [...common, { name: 'content-digest', tr: true }, { name: 'zt-end', tr: true }],
    params: { ...window, tag: 'zt1-final' },
    baseBytes: 917,
  },
  {
    what: 'final, in the headers of the answer',
    seed: example.keys.provider,
    agency: 'b07',
    view: response,
    bag: response.fields,
    label: 'final',
    components: [
      ...['@status', 'content-type', 'content-digest', 'zt-exchange', 'zt-policy'].map((name) => ({ name })),
      ...['@method', '@authority', '@path', '@query', 'zt-exchange'].map(
        (name) => ({ name, req: true }) as const,
      ),
      { name: 'content-digest', req: true, tr: true },
      { name: 'signature-input', req: true, tr: true, key: 'final' },
    ],
    params: { created: window.created, nonce: window.nonce, tag: 'zt1-final' },
    baseBytes: 1317,
  },
];

for (const { what, seed, agency, view, bag, label, components, params, baseBytes } of parts) {
  void t.test(what, async (t) => {
    const { privateKey, publicKey, spki } = keyPair(seed);
    const keyid = `${agency}#${base64url(createHash('sha256').update(spki).digest())}`;
    const input = formatSignatureInput(components, { ...params, keyid });
    t.equal(
      fieldValue(bag, 'signature-input'),
      `${label}=${input}`,
      'our Signature-Input is the printed one',
    );

    const base = signatureBase(view, components, input);
    if (baseBytes !== undefined) t.equal(base.length, baseBytes, 'as long as the page says');
    const signature = signBase('ed25519', privateKey, base);
    t.equal(
      fieldValue(bag, 'signature'),
      `${label}=:${base64(signature)}:`,
      'our Signature is the printed one',
    );

    const parsed = parseSignatures(bag).get(label);
    t.same(parsed?.input.components, components);
    t.same(parsed?.input.params, { ...params, keyid });
    t.equal(signatureBase(view, parsed?.input.components ?? [], parsed?.input.raw ?? ''), base);
    t.ok(verifyBase('ed25519', publicKey, base, parsed?.signature ?? Buffer.alloc(0)), 'and it verifies');
  });
}

void t.test('digests of both bodies', async (t) => {
  t.equal(
    fieldValue(example.request.trailers, 'content-digest'),
    formatContentDigest(sha256Base64(requestBody)),
  );
  t.equal(fieldValue(response.fields, 'content-digest'), formatContentDigest(sha256Base64(responseBody)));
  t.equal(
    parseContentDigest(fieldValue(response.fields, 'content-digest') ?? ''),
    sha256Base64(responseBody),
  );
});
