import { generateKeyPairSync, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import { component as theirComponent, createSignatureSync, verifySignature } from 'http-message-sig';
import type { MessageDescriptor, SignatureParameters } from 'http-message-sig';
import t from 'tap';
import { fieldName, sfString } from '../../conformance/builders/components.ts';
import { base64 } from '../core/bytes.ts';
import type { Field } from '../core/fields.ts';
import { signBase, verifyBase } from './algorithm.ts';
import { signatureBase } from './base.ts';
import type { Component } from './component.ts';
import { formatSignatureInput, parseSignatures, type SignatureParams } from './signature-input.ts';
import type { MessageView, RequestView } from './view.ts';

// A second implementation, written by others, in both directions. It has no trailers and no @query-param.

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const NOW = 1_795_305_600;

/** Visible ASCII with single spaces inside: a canonical field value. */
const fieldText = fc
  .string({
    unit: fc.oneof(fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 1 })),
    maxLength: 30,
  })
  .map((text) => text.trim());
const dictionaryText = fc.constantFrom('a=1', 'a=(1 2);x, b', 'b;q="\\"", a=:AAEC:', '  a=tok,   c=?0');
const RESERVED = new Set(['signature', 'signature-input', 'dictionary']);
const fields: fc.Arbitrary<readonly Field[]> = fc
  .uniqueArray(fc.tuple(fieldName, fieldText), { selector: ([name]) => name, maxLength: 8 })
  .map((all) => all.filter(([name]) => !RESERVED.has(name)))
  .chain((all) => dictionaryText.map((text): readonly Field[] => [...all, ['dictionary', text.trim()]]));

const segment = fc.stringMatching(/^[A-Za-z0-9_~!$&'()*+,;=:@-]{1,8}$/).filter((text) => !/^\.+$/.test(text));
const request: fc.Arbitrary<RequestView> = fc.record({
  kind: fc.constant('request' as const),
  method: fc.constantFrom('GET', 'POST', 'PATCH', 'pOsT'),
  authority: fc.constantFrom('hr.b.example', 'hr.b.example:8443'),
  path: fc.array(segment, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`),
  query: fc.oneof(
    fc.constant(''),
    fc.constant('?'),
    fc.stringMatching(/^\?[A-Za-z0-9_.~!$&()*+,;=:@/?-]{0,20}$/),
  ),
  fields,
});
const message: fc.Arbitrary<MessageView> = fc.oneof(
  request,
  fc.record({
    kind: fc.constant('response' as const),
    status: fc.integer({ min: 200, max: 599 }),
    fields,
    request,
  }),
);

function descriptor(view: MessageView, more: readonly Field[]): MessageDescriptor {
  const occurrences = [...view.fields, ...more].map(([name, value]) => ({ name, value }));
  if (view.kind === 'response') {
    const asked = view.request === undefined ? undefined : descriptor(view.request, []);
    return {
      kind: 'response',
      status: view.status,
      fields: occurrences,
      ...(asked?.kind === 'request' && { request: asked }),
    };
  }
  const { method, authority, path, query } = view;
  return { kind: 'request', method, targetUri: `https://${authority}${path}${query}`, fields: occurrences };
}

const DERIVED = ['@method', '@authority', '@path', '@query'];

/** All components of a message that both sides know, and of its request with `req`. */
function componentsOf(view: MessageView): Component[] {
  const names = view.fields.map(([name]) => ({ name }));
  const member = { name: 'dictionary', key: 'a' };
  if (view.kind === 'request') return [...DERIVED.map((name) => ({ name })), ...names, member];
  const asked = view.request === undefined ? [] : componentsOf(view.request);
  return [{ name: '@status' }, ...names, member, ...asked.map((c) => ({ ...c, req: true as const }))];
}

const theirs = ({ name, req, key }: Component): ReturnType<typeof theirComponent> =>
  theirComponent(name, { ...(req && { req }), ...(key !== undefined && { key }) });

const covered = message.chain((view) =>
  fc.shuffledSubarray(componentsOf(view), { minLength: 1 }).map((components) => ({ view, components })),
);
const params = fc
  .record({ nonce: sfString, keyid: sfString, tag: sfString })
  .map((text): SignatureParams => ({ created: NOW, expires: NOW + 60, alg: 'ed25519', ...text }));

void t.test('they verify what we sign', async () => {
  await fc.assert(
    fc.asyncProperty(covered, params, async ({ view, components }, ours) => {
      const input = formatSignatureInput(components, ours);
      const signature = signBase('ed25519', privateKey, signatureBase(view, components, input));
      const signed = descriptor(view, [
        ['signature-input', `sig=${input}`],
        ['signature', `sig=:${base64(signature)}:`],
      ]);
      const verified = await verifySignature(signed, {
        label: 'sig',
        policy: {
          algorithms: ['ed25519'],
          requiredComponents: components.map(theirs),
          requiredParameters: ['created'],
          now: NOW,
        },
        resolveVerifier: () => ({
          algorithm: 'ed25519',
          verify: (data, bytes) => verify(null, data, publicKey, bytes),
        }),
      });
      return verified.components.length === components.length;
    }),
    { numRuns: 150 },
  );
});

void t.test('we verify what they sign', async () => {
  fc.assert(
    fc.property(covered, params, ({ view, components }, { created, expires, nonce, alg, keyid, tag }) => {
      const made = createSignatureSync(descriptor(view, []), {
        label: 'sig',
        components: components.map(theirs),
        parameters: { created, expires, nonce, alg, keyid, tag } as SignatureParameters, // none is undefined here
        signer: { algorithm: 'ed25519', sign: (data) => sign(null, data, privateKey) },
      });
      const found = parseSignatures([
        ['signature-input', made.signatureInput],
        ['signature', made.signature],
      ]).get('sig');
      if (found === undefined) return false;
      const base = signatureBase(view, found.input.components, found.input.raw);
      return verifyBase('ed25519', publicKey, base, found.signature);
    }),
    { numRuns: 150 },
  );
});
