import { generateKeyPairSync, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { P256, P384 } from './ecdsa.ts';

const curves = [
  { name: 'P-256', hash: 'sha256', form: P256 },
  { name: 'P-384', hash: 'sha384', form: P384 },
] as const;

/** DER INTEGER by the book: hexadecimal, a zero in front where the top bit is set. */
function derInteger(value: bigint): string {
  const hex = value.toString(16);
  const even = hex.length % 2 === 0 ? hex : `0${hex}`;
  const body = /^[89a-f]/.test(even) ? `00${even}` : even;
  return `02${(body.length / 2).toString(16).padStart(2, '0')}${body}`;
}

function derSequence(r: bigint, s: bigint): string {
  const body = derInteger(r) + derInteger(s);
  return `30${(body.length / 2).toString(16).padStart(2, '0')}${body}`;
}

for (const { name, hash, form } of curves) {
  const size = form.length / 2;
  const raw = (r: bigint, s: bigint): Buffer =>
    Buffer.from([r, s].map((value) => value.toString(16).padStart(2 * size, '0')).join(''), 'hex');
  // Up to a quarter of the range, so that s is low whatever the curve; short values, with their leading zeros, often.
  const number = fc
    .tuple(fc.bigInt({ min: 0n, max: 2n ** BigInt(8 * size - 2) }), fc.nat(8 * size))
    .map(([n, shift]) => n >> BigInt(shift));

  void t.test(`${name}: DER by the book, both ways`, async (t) => {
    fc.assert(
      fc.property(number, number, (r, s) => {
        const der = form.toDer(raw(r, s));
        return der?.toString('hex') === derSequence(r, s) && form.fromDer(der).equals(raw(r, s));
      }),
      { numRuns: 500 },
    );
    t.equal(form.toDer(raw(0n, 0n))?.toString('hex'), '3006020100020100');
  });

  void t.test(`${name}: as OpenSSL converts`, async (t) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: name });
    let high = 0;
    for (let i = 0; i < 60; i++) {
      const message = Buffer.from(`message ${i}`);
      const der = sign(hash, message, privateKey);
      const wire = form.fromDer(der);
      t.ok(
        verify(hash, message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, wire),
        'OpenSSL verifies our wire form',
      );
      const back = form.toDer(wire);
      t.ok(back !== undefined && verify(hash, message, publicKey, back), 'and our DER');
      if (!der.equals(back ?? der)) high++;
    }
    t.ok(high > 0 && high < 60, 'some came with the high s and were lowered, some did not');
  });

  void t.test(`${name}: the middle of the range`, async (t) => {
    const order =
      name === 'P-256'
        ? 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
        : 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n;
    t.ok(form.toDer(raw(1n, order / 2n)), 'the largest low s');
    for (const s of [order / 2n + 1n, order - 1n, order, order + 1n, 2n ** BigInt(8 * size) - 1n]) {
      t.equal(form.toDer(raw(1n, s)), undefined, s.toString(16));
    }
    const lowered = form.fromDer(Buffer.from(derSequence(1n, order - 1n), 'hex'));
    t.same(lowered, raw(1n, 1n));
    for (const length of [0, form.length - 1, form.length + 1])
      t.equal(form.toDer(Buffer.alloc(length)), undefined);
  });
}
