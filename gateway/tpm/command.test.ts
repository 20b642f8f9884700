import fc from 'fast-check';
import t from 'tap';
import { lyingKey } from '../../conformance/builders/lying-tpm.ts';
import { HASH } from './algorithm.ts';
import { type Command, EMPTY_PASSWORD, TpmRefused } from './command.ts';
import * as tpm2 from './commands.ts';
import { nvRead, nvReadPublic, pcrRead } from './storage-commands.ts';
import { sized, u16, u32 } from './cursor.ts';
import { AK_P256 } from './templates.ts';

const hexOf = ({ bytes }: Command<unknown>): string => Buffer.from(bytes).toString('hex');

const hex = (...parts: string[]): string => parts.join('').replaceAll(' ', '');

/** The bytes of Part 3, worked out by hand. */
void t.test('commands as they go to the TPM', async (t) => {
  t.equal(hexOf(tpm2.startup()), '80010000000c000001440000');
  t.equal(hexOf(tpm2.random(16)), '80010000000c0000017b0010');
  t.equal(hexOf(tpm2.flushContext(0x8000_0001)), '80010000000e0000016580000001');
  const quote = tpm2.quote(0x8000_0002, Buffer.of(0xaa), [{ hash: HASH.sha256, pcrs: [0, 8, 23] }]);
  t.equal(
    hexOf(quote),
    // tag, size, code | handle | authorization of 9 bytes: password, no nonce, no attributes, no password
    hex(
      // tag, size, code | handle | authorization of 9 bytes: password, no nonce, no attributes, no password
      '80020000002a00000158 80000002 00000009 40000009 0000 00 0000',
      // extra data | key's scheme | one bank, three bytes of bitmap
      '0001aa 0010 00000001 000b 03 010180',
    ),
  ); // prettier-ignore
  const policy = tpm2.policyEndorsement(0x0300_0000);
  t.equal(
    hexOf(policy),
    hex('80020000002900000151 4000000b 03000000', '00000009 40000009 0000000000', '000000000000 00000000'),
  ); // prettier-ignore
});

const response = (tag: number, body: Uint8Array, rc = 0): Buffer =>
  Buffer.concat([u16(tag), u32(10 + body.length), u32(rc), body]);
const AUTH = Buffer.from('0000010000', 'hex');
const withSession = (parameters: Uint8Array, sessions = 1): Buffer =>
  response(
    0x8002,
    Buffer.concat([u32(parameters.length), parameters, ...Array.from({ length: sessions }, () => AUTH)]),
  );

const { area } = lyingKey(AK_P256);
const SIGNED = Buffer.concat([sized(Buffer.alloc(145, 1)), Buffer.alloc(72, 2)]);
const SELECTION = Buffer.from('00000001000b03010000', 'hex');
/** Every command with a good answer to it. */
const ANSWERS: readonly (readonly [Command<unknown>, Buffer])[] = [
  [tpm2.startup(), response(0x8001, Buffer.alloc(0))],
  [tpm2.random(4), response(0x8001, sized(Buffer.alloc(4)))],
  [tpm2.handlesFrom(0x8000_0000), response(0x8001, Buffer.from('00000000010000000180000000', 'hex'))],
  [tpm2.readClock(), response(0x8001, Buffer.alloc(25))],
  [tpm2.readPublic(1), response(0x8001, Buffer.concat([sized(area.raw), sized(area.name), sized(area.name)]))],
  [tpm2.startPolicySession(Buffer.alloc(16), HASH.sha256), response(0x8001, Buffer.concat([u32(0x0300_0000), sized(Buffer.alloc(16))]))],
  [tpm2.policyEndorsement(3), withSession(Buffer.from('00008023400000010000', 'hex'))],
  [tpm2.activateCredential(1, { handle: 2, auth: EMPTY_PASSWORD }, { blob: AUTH, secret: AUTH }), withSession(sized(Buffer.alloc(32)), 2)],
  [nvReadPublic(0x01c0_0002), response(0x8001, Buffer.concat([u16(14), u32(0x01c0_0002), u16(0x000b), u32(7), u16(0), u16(1020), sized(Buffer.alloc(34))]))],
  [nvRead(0x01c0_0002, 8, 0), withSession(sized(Buffer.alloc(8)))],
  [pcrRead({ hash: HASH.sha256, pcrs: [0] }), response(0x8001, Buffer.concat([u32(20), SELECTION, u32(1), sized(Buffer.alloc(32))]))],
]; // prettier-ignore

void t.test('answers are read exactly: every truncation and every byte more is refused', async (t) => {
  for (const [command, answer] of ANSWERS) {
    command.parse(answer);
    for (let length = 0; length < answer.length; length += 1) {
      const cut = Buffer.from(answer.subarray(0, length));
      t.throws(() => command.parse(cut), { name: 'MalformedBytes' }, `${command.name} ${length}`);
      if (length < 10) continue;
      cut.writeUInt32BE(length, 2); // an honest length does not help
      t.throws(() => command.parse(cut), { name: 'MalformedBytes' }, `${command.name} ${length}`);
    }
    const longer = Buffer.concat([answer, Buffer.of(0)]);
    t.throws(() => command.parse(longer), { name: 'MalformedBytes' }, command.name);
    longer.writeUInt32BE(longer.length, 2);
    t.throws(() => command.parse(longer), { name: 'MalformedBytes' }, command.name);
  }
});

void t.test('the tail of a quote is its signature, for the verifier to judge', async (t) => {
  const { attest, signature } = tpm2.quote(1, Buffer.alloc(32), []).parse(withSession(SIGNED));
  t.equal(attest.length, 145);
  t.equal(signature.length, 72);
});

void t.test('a refusal carries its code', async (t) => {
  const refused = response(0x8001, Buffer.alloc(0), 0x922);
  t.throws(() => tpm2.startup().parse(refused), new TpmRefused('Startup', 0x922));
  t.throws(() => tpm2.quote(1, Buffer.alloc(1), []).parse(refused), new TpmRefused('Quote', 0x922));
  t.throws(() => tpm2.startup().parse(response(0x8001, Buffer.of(0), 0x922)), { name: 'MalformedBytes' });
  t.throws(() => tpm2.random(4).parse(response(0x8002, Buffer.alloc(4))), { name: 'MalformedBytes' });
});

void t.test('numbers that lie', async (t) => {
  const handles = Buffer.from('0000000001ffffffff', 'hex');
  t.throws(() => tpm2.handlesFrom(0).parse(response(0x8001, handles)), { name: 'MalformedBytes' });
  const other = Buffer.from('000000000200000000', 'hex');
  t.throws(() => tpm2.handlesFrom(0).parse(response(0x8001, other)), { name: 'MalformedBytes' });
  const digests = Buffer.concat([u32(1), SELECTION, u32(9)]);
  t.throws(() => pcrRead({ hash: HASH.sha256, pcrs: [0] }).parse(response(0x8001, digests)), {
    name: 'MalformedBytes',
  });
  t.throws(() => nvRead(1, 1, 1).parse(withSession(Buffer.alloc(2), 2)), { name: 'MalformedBytes' });
  t.throws(
    () =>
      tpm2.activateCredential(
        1,
        { handle: 2, auth: EMPTY_PASSWORD },
        { blob: Buffer.alloc(4096), secret: AUTH },
      ),
    { name: 'MalformedBytes' },
    'a command longer than any TPM takes',
  );
});

void t.test('any bytes are an answer, a refusal or malformed', async () => {
  fc.assert(
    fc.property(fc.constantFrom(...ANSWERS), fc.nat(400), fc.uint8Array({ minLength: 1, maxLength: 6 }), ([command, answer], at, patch) => {
      const bytes = Buffer.from(answer);
      bytes.set(patch.subarray(0, Math.max(0, bytes.length - (at % bytes.length))), at % bytes.length);
      try {
        command.parse(bytes);
        return true;
      } catch (thrown) {
        return thrown instanceof TpmRefused || (thrown as Error).name === 'MalformedBytes';
      }
    }),
    { numRuns: 3000 },
  ); // prettier-ignore
});
