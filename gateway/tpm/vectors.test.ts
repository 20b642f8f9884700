// conformance/vectors/tpm: what a real TPM said once. Runs where there is none.
import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { HASH } from './algorithm.ts';
import { parseAttest } from './attest.ts';
import { pcrDigest } from './pcr.ts';
import { childQualifiedName, HIERARCHY, parsePublic, primaryQualifiedName } from './public.ts';
import { requireSignature } from './signature.ts';

const folder = new URL('../../conformance/vectors/tpm/', import.meta.url);
const names = readdirSync(folder).filter((name) => name.endsWith('.json'));

void t.test(
  'there are vectors of both kinds of endorsement keys and three of attestation keys',
  async (t) => {
    t.same(names.toSorted(), [
      'ecc-ek-ecdsa-ak.json',
      'ecc-ek-rsapss-ak.json',
      'ecc-ek-rsassa-ak.json',
      'rsa-ek-ecdsa-ak.json',
    ]);
  },
);

for (const name of names) {
  void t.test(name, async (t) => {
    // The files are ours: objects of hexadecimal strings.
    const texts = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as Record<string, string>;
    const vector = (key: string): Buffer => Buffer.from(texts[key] ?? '', 'hex');
    const [ek, ak, binding] = ['ekPublic', 'akPublic', 'bindingPublic'].map((key) =>
      parsePublic(vector(key)),
    );
    if (ek === undefined || ak === undefined || binding === undefined) throw new Error('keys');
    const parent = primaryQualifiedName(HIERARCHY.endorsement, ek);
    t.same(childQualifiedName(parent, ak), vector('akQualifiedName'));
    for (const what of ['certify', 'quote']) {
      requireSignature(ak, vector(`${what}Attest`), vector(`${what}Signature`));
      t.match(parseAttest(vector(`${what}Attest`)), {
        type: what,
        qualifiedSigner: vector('akQualifiedName'),
        extraData: vector('extraData'),
      });
      t.throws(() => requireSignature(binding, vector(`${what}Attest`), vector(`${what}Signature`)), {
        name: 'SignatureMismatch',
      });
    }
    t.match(parseAttest(vector('certifyAttest')), {
      name: binding.name,
      qualifiedName: childQualifiedName(parent, binding),
    });
    t.match(parseAttest(vector('quoteAttest')), {
      selections: [{ hash: HASH.sha256, pcrs: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14] }],
      pcrDigest: pcrDigest(HASH.sha256, [vector('pcrValues')]),
    });
    requireSignature(binding, vector('extraData'), vector('bindingSignature'));
  });
}
