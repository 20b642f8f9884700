import { createHash } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { inBase64, inBase64url, sha256, toBase64 } from './bytes.ts';

void t.test('however the bytes are cut into parts, the digest is theirs', async () => {
  const part = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.uint8Array(),
    fc.uint8Array({ minLength: 6000, maxLength: 9000 }),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const whole = createHash('sha256');
      for (const each of parts) whole.update(each);
      return sha256(...parts).equals(whole.digest());
    }),
  );
});

void t.test('a digest is memory of its own', async (t) => {
  const first = sha256('a', 'b');
  const text = first.toString('hex');
  sha256('c', 'd');
  t.equal(first.toString('hex'), text);
});

void t.test('either base64 alphabet is turned into the other, whatever stands between', async () => {
  const text = fc.string({ unit: fc.constantFrom('-', '_', '+', '/', 'A', '=', '\u00e9') });
  fc.assert(
    fc.property(text, (any) => {
      return (
        inBase64(any) === any.replaceAll('-', '+').replaceAll('_', '/') &&
        inBase64url(any) === any.replaceAll('+', '-').replaceAll('/', '_')
      );
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
      const buffer = Buffer.from(bytes);
      return toBase64(buffer.toString('base64url')) === buffer.toString('base64');
    }),
  );
});
