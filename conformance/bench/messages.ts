/**
 * What the messages of one exchange cost in all: both fields and both signatures written and read, at both gateways,
 * without link, log and policy.
 *
 *     node conformance/bench/messages.ts [together [rounds [exchanges [ed25519 or p256]]]]
 */
import { sha256Base64 } from '../../gateway/core/bytes.ts';
import type { Field, Fields } from '../../gateway/core/fields.ts';
import { newExchangeId } from '../../gateway/core/ids.ts';
import { BodyMeter } from '../../gateway/message/digest.ts';
import { CompleteMessage } from '../../gateway/message/complete-message.ts';
import { EXCHANGE, formatExchange } from '../../gateway/message/exchange-field.ts';
import { linkFields } from '../../gateway/message/headers.ts';
import { VerifiedBatches } from '../../gateway/message/message-signature.ts';
import { SignedHead } from '../../gateway/message/signed-head.ts';
import { MessageSigner } from '../../gateway/message/signer.ts';
import { SigningQueue } from '../../gateway/message/signing-queue.ts';
import { generateKeyPair, type KeyKind } from '../../pki/keys.ts';
import { median } from './stats.ts';

const TOGETHER = Number(process.argv[2] ?? 16);
const ROUNDS = Number(process.argv[3] ?? 9);
const EXCHANGES = Number(process.argv[4] ?? 4000);
const KEYS = (['p256', 'ed25519'] as const).find((kind) => kind === (process.argv[5] ?? 'ed25519'));
if (KEYS === undefined)
  throw new Error(`${process.argv[5]}: no kind of message keys; there are ed25519 and p256`);
const algorithm = KEYS === 'p256' ? 'ecdsa-p256-sha256' : 'ed25519';

const A = 'gw.a11.tw.troad.example';
const B = 'gw.b07.tw.troad.example';
const body = Buffer.alloc(1024, 'x');
const digest = sha256Base64(body);
const clock = { now: Date.now, monotonic: () => performance.now() };
const paces = { soon: setImmediate, record: setImmediate };

function gateway(name: string, keys: KeyKind) {
  const { privateKey, publicKey } = generateKeyPair(keys);
  const kid = `${name}#1`;
  return {
    name,
    key: { algorithm, publicKey } as const,
    signing: new SigningQueue({ kid, algorithm, privateKey }, paces),
  };
}

const near = gateway(A, KEYS);
const far = gateway(B, KEYS);
const verifier = (me: string, key: typeof near.key) => ({
  me,
  clock,
  messageKey: () => key,
  batches: new VerifiedBatches(),
});
const atFar = verifier(B, near.key);
const atNear = verifier(A, far.key);

/** Texts of their own, as they are when they came off a socket. */
const arrived = (fields: Fields): Fields =>
  linkFields(
    fields.map(([name, value]): Field => [
      Buffer.from(name).toString('latin1'),
      Buffer.from(value).toString('latin1'),
    ]),
  );

const metered = (): BodyMeter => {
  const meter = new BodyMeter();
  meter.update(body);
  return meter;
};

async function exchange(): Promise<void> {
  const asked = { id: newExchangeId(), mode: 'full', from: A, to: B, at: clock.now(), length: 1024 } as const;
  const plain = {
    method: 'POST',
    authority: B,
    path: '/r1/TW/GOV/B07/housing/echo',
    query: '',
    fields: [
      ['x-road-client', 'TW/GOV/A11/welfare'],
      ['content-type', 'application/octet-stream'],
      ['x-road-id', 'TW-3b1f8a52-5dd2-4f5e-9a5b-0d4bb3c1c1ab'],
      [EXCHANGE, formatExchange(asked)],
      ['t-road-policy', `bundle=:${'b'.repeat(43)}=:, input=:${'i'.repeat(43)}=:, allow`],
    ] as readonly Field[],
  };
  const question = await new MessageSigner(near.signing, asked.id, clock).requestWhole(plain, digest);
  const sent = { ...plain, fields: question.fields };

  const received = { ...sent, fields: arrived(sent.fields) };
  const request = SignedHead.request(received, A, atFar);
  CompleteMessage.verify(request, metered(), [], A, atFar);
  const replied = { ...asked, from: B, to: A };
  const answer = await new MessageSigner(far.signing, asked.id, clock).responseWhole(
    200,
    [
      ['content-type', 'application/octet-stream'],
      ['last-modified', 'Sun, 22 Nov 2026 04:20:00 GMT'],
      ['etag', '"6741d2f0-400"'],
      [EXCHANGE, formatExchange(replied)],
    ],
    digest,
    { kind: 'request', ...received },
    { mode: 'full', label: 'final' },
  );

  const head = { status: 200, fields: arrived(answer.fields) };
  const response = SignedHead.response(head, { kind: 'request', ...sent }, asked, atNear);
  CompleteMessage.verify(response, metered(), [], B, atNear);
}

async function round(exchanges: number): Promise<number> {
  const before = process.cpuUsage();
  for (let i = 0; i < exchanges; i += TOGETHER)
    await Promise.all(Array.from({ length: TOGETHER }, async () => exchange()));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / exchanges;
}

await round(EXCHANGES);
const costs: number[] = [];
for (let i = 0; i < ROUNDS; i++) costs.push(await round(EXCHANGES));
process.stdout.write(
  `${TOGETHER} together, ${KEYS}: ${median(costs).toFixed(1)} µs of CPU an exchange (${Math.min(...costs).toFixed(1)} to ${Math.max(...costs).toFixed(1)})\n`,
);
