import fc from 'fast-check';
import t from 'tap';
import { mutated } from '../../conformance/builders/components.ts';
import { base64, sha256Base64 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { formatContentDigest, parseContentDigest } from './digest.ts';

const HELLO = 'RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg='; // {"hello": "world"} and a line end
const SHA512 = 'YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==';

void t.test('the digest of RFC 9530 Appendix B', async (t) => {
  t.equal(formatContentDigest(sha256Base64('{"hello": "world"}\n')), `sha-256=:${HELLO}:`);
  t.equal(parseContentDigest(`sha-256=:${HELLO}:`), HELLO);
  t.equal(parseContentDigest(`sha-512=:${SHA512}:, sha-256=:${HELLO}:`), HELLO, 'beside another');
});

void t.test('M01: refused', async (t) => {
  const refused: readonly (readonly [what: string, value: string])[] = [
    ['nothing', ''],
    ['weak algorithms alone', 'md5=:Sd/dVLAcvNLSq16eXua5uQ==:, sha=:07CavjDP4u3/TungoUHJO/Wzr4c=:'],
    ['another strong one alone', `sha-512=:${SHA512}:`],
    ['31 bytes', `sha-256=:${Buffer.alloc(31).toString('base64')}:`],
    ['33 bytes', `sha-256=:${Buffer.alloc(33).toString('base64')}:`],
    ['no bytes', 'sha-256=::'],
    ['twice', `sha-256=:${HELLO}:, sha-256=:${HELLO}:`],
    ['capitals', `SHA-256=:${HELLO}:`],
    ['the old Digest syntax', `sha-256=${HELLO}`],
    ['a token', 'sha-256=abc'],
    ['no padding', `sha-256=:${HELLO.slice(0, -1)}:`],
    ['bits in the padding', `sha-256=:${HELLO.slice(0, -2)}F=:`],
    ['base64url', `sha-256=:${'-'.repeat(43)}=:`],
    ['a parameter', `sha-256=:${HELLO}:;a=1`],
    ['a space before', ` sha-256=:${HELLO}:`],
    ['a space behind', `sha-256=:${HELLO}: `],
    ['a comma behind', `sha-256=:${HELLO}:,`],
    ['a comma and a space behind', `sha-256=:${HELLO}:, `],
    ['no space after the comma', `md5=::,sha-256=:${HELLO}:`],
    ['not closed', `sha-256=:${HELLO}`],
    ['too many', `${Array.from({ length: 8 }, (_, i) => `a${i}=::`).join(', ')}, sha-256=:${HELLO}:`],
  ];
  for (const [what, value] of refused)
    t.throws(() => parseContentDigest(value), { name: 'MalformedBytes' }, what);
});

void t.test('what is read is written the same, and only that is read', async () => {
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(bytes, (sha256) => {
      const text = `sha-256=:${base64(sha256)}:`;
      return formatContentDigest(parseContentDigest(text)) === text;
    }),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string({ unit: 'binary' }),
        fc.stringMatching(/^sha-256=:[A-Za-z0-9+/=]*:.?$/),
      ),
      (text) => {
        try {
          return formatContentDigest(parseContentDigest(text)) === text;
        } catch (thrown) {
          return thrown instanceof MalformedBytes;
        }
      },
    ),
  );
});

void t.test('a digest that stands alone is read as it is among others', async () => {
  const outcome = (value: string): string => {
    try {
      return parseContentDigest(value);
    } catch (cause) {
      return cause instanceof MalformedBytes ? 'refused' : String(cause);
    }
  };
  const alone = fc.uint8Array({ minLength: 31, maxLength: 33 }).map((bytes) => `sha-256=:${base64(bytes)}:`);
  fc.assert(
    fc.property(fc.oneof(alone, mutated(alone), mutated(mutated(alone))), (value) => {
      return outcome(value) === outcome(`${value}, x=:AA==:`);
    }),
    { numRuns: 3000 },
  );
});
