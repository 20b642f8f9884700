import t from 'tap';
import { EKS, LyingTpm } from '../../conformance/builders/lying-tpm.ts';
import { makeCredential } from './credential.ts';

const secret = Buffer.from('a secret of thirty-two bytes....');

for (const ek of Object.keys(EKS) as (keyof typeof EKS)[]) {
  const tpm = new LyingTpm({ ek });
  const credential = makeCredential(tpm.ek.area, tpm.ak.area.name, secret);

  void t.test(`${ek}: the TPM with the EK and the named key opens it`, async (t) => {
    t.same(tpm.activate(credential), secret);
    const empty = makeCredential(tpm.ek.area, tpm.ak.area.name, Buffer.alloc(0));
    t.same(tpm.activate(empty), Buffer.alloc(0));
    t.equal(credential.blob.length, 2 + 2 + tpm.ek.area.nameAlg.bytes + 2 + secret.length);
    const twice = makeCredential(tpm.ek.area, tpm.ak.area.name, secret);
    t.notSame(twice.blob, credential.blob, 'never the same twice');
  });

  void t.test(`${ek}: 14 for another key's Name it does not open`, async (t) => {
    t.throws(() => tpm.activate(credential, tpm.binding), /INTEGRITY/);
  });

  void t.test(`${ek}: 24 in another TPM it does not open`, async (t) => {
    const other = new LyingTpm({ ek: ek === 'rsa' ? 'rsa' : ek });
    other.ak = tpm.ak;
    t.throws(() => other.activate(credential));
  });

  void t.test(`${ek}: 13 no bit of the blob may change`, async (t) => {
    for (let bit = 16; bit < credential.blob.length * 8; bit += 1) {
      const blob = Buffer.from(credential.blob);
      blob.writeUInt8(blob.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      try {
        tpm.activate({ blob, secret: credential.secret });
        t.fail(`bit ${bit}`);
      } catch {
        // what a real TPM answers is tested against a real one
      }
    }
    t.pass();
  });
}

void t.test('refuses what cannot be', async (t) => {
  const tpm = new LyingTpm();
  t.throws(() => makeCredential(tpm.ek.area, tpm.ak.area.name, Buffer.alloc(33)), TypeError);
  t.throws(() => makeCredential(tpm.ak.area, tpm.ak.area.name, secret), TypeError, 'not a storage key');
});
