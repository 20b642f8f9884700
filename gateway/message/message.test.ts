import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { base64, sha256Base64 } from '../core/bytes.ts';
import type { Fields } from '../core/fields.ts';
import type { RequestHead } from '../core/head.ts';
import { newExchangeId } from '../core/ids.ts';
import { fieldValue, NO_FIELDS } from '../core/fields.ts';
import { BodyMeter } from './digest.ts';
import { EXCHANGE, formatExchange, parseExchange, type ExchangeField, type Mode } from './exchange-field.ts';
import type { RequestBinding } from './profile.ts';
import { VerifiedBatches } from './message-signature.ts';
import { MessageSigner } from './signer.ts';
import { SigningQueue } from './signing-queue.ts';
import { SignedHead } from './signed-head.ts';
import { CompleteMessage } from './complete-message.ts';
import type { VerifierContext } from './verification.ts';

const NOW = 1_795_305_600_123;
const clock = { now: () => NOW, monotonic: () => 0 };
const A = 'gw.a11.tw.troad.example';
const B = 'gw.b07.tw.troad.example';

const pairs = {
  ed25519: generateKeyPairSync('ed25519'),
  'ecdsa-p256-sha256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'rsa-pss-sha512': generateKeyPairSync('rsa', { modulusLength: 2048 }),
} as const;
const providerPair = generateKeyPairSync('ed25519');

type Algorithm = keyof typeof pairs;
const PACES = { soon: setImmediate, record: setImmediate };
const signingQueue = (algorithm: Algorithm): SigningQueue =>
  new SigningQueue({ kid: `${A}#1`, algorithm, privateKey: pairs[algorithm].privateKey }, PACES);
const providerQueue = new SigningQueue(
  { kid: `${B}#1`, algorithm: 'ed25519', privateKey: providerPair.privateKey },
  PACES,
);

const context = (me: string, algorithm: Algorithm, now = NOW): VerifierContext => ({
  me,
  clock: { now: () => now, monotonic: () => 0 },
  messageKey: (gateway, kid): { algorithm: Algorithm; publicKey: KeyObject } | undefined => {
    if (gateway === A && kid === `${A}#1`) return { algorithm, publicKey: pairs[algorithm].publicKey };
    if (gateway === B && kid === `${B}#1`) return { algorithm: 'ed25519', publicKey: providerPair.publicKey };
    return undefined;
  },
  batches: new VerifiedBatches(),
});

const exchangeOf = (mode: Mode, from: string, to: string, length?: number): ExchangeField => ({
  id: newExchangeId(),
  mode,
  from,
  to,
  at: NOW,
  ...(length === undefined ? {} : { length }),
});

const plainHead = (exchange: ExchangeField): RequestHead => ({
  method: 'POST',
  authority: B,
  path: '/r1/TW/GOV/B07/housing/echo/x%20y',
  query: '?q=1&r=%2F',
  fields: [
    ['x-road-client', 'TW/GOV/A11/welfare'],
    ['x-road-id', 'TW-1'],
    ['content-type', 'application/json'],
    ['x-empty', ''],
    [EXCHANGE, formatExchange(exchange)],
  ],
});

const meterOf = (body: Uint8Array): BodyMeter => {
  const meter = new BodyMeter();
  meter.update(body);
  return meter;
};

const body = Buffer.from('{"id":"A123456789"}\n');

for (const algorithm of ['ed25519', 'ecdsa-p256-sha256', 'rsa-pss-sha512'] as const) {
  void t.test(`${algorithm}: whole and streamed requests and their answers verify`, async (t) => {
    const whole = exchangeOf('full', A, B, body.length);
    const signer = new MessageSigner(signingQueue(algorithm), whole.id, clock);
    const head = plainHead(whole);
    const sent = { ...head, fields: (await signer.requestWhole(head, sha256Base64(body))).fields };
    const signed = SignedHead.request(sent, A, context(B, algorithm));
    const complete = CompleteMessage.verify(signed, meterOf(body), NO_FIELDS, A, context(B, algorithm));
    t.equal(complete.length, body.length);

    const streamed = exchangeOf('stream', A, B);
    const streamSigner = new MessageSigner(signingQueue(algorithm), streamed.id, clock);
    const streamHead = plainHead(streamed);
    const opened = { ...streamHead, fields: (await streamSigner.requestOpen(streamHead)).fields };
    const closing = await streamSigner.requestFinal(opened, sha256Base64(body), body.length);
    const proof = SignedHead.request(opened, A, context(B, algorithm));
    CompleteMessage.verify(proof, meterOf(body), closing.fields, A, context(B, algorithm));
    // The closing signature repeats all that the opening one covered, so it alone is the evidence.
    const covered = (base: string): string[] => base.split('\n').slice(0, -1);
    t.match(covered(closing.evidence.base), covered(proof.evidence.base));

    const request = { kind: 'request' as const, ...opened, trailers: closing.fields };
    for (const binding of [
      { mode: 'stream', label: 'final' },
      { mode: 'stream', label: 'open' },
    ] satisfies RequestBinding[]) {
      const answer = { ...exchangeOf('full', B, A, 2), id: streamed.id };
      const answerer = new MessageSigner(providerQueue, streamed.id, clock);
      const plain: Fields = [
        ['content-type', 'text/plain'],
        [EXCHANGE, formatExchange(answer)],
      ];
      const response = await answerer.responseWhole(200, plain, sha256Base64('ok'), request, binding);
      const answered = SignedHead.response(
        { status: 200, fields: response.fields },
        request,
        streamed,
        context(A, algorithm),
      );
      t.same(answered.binding, binding);
      CompleteMessage.verify(answered, meterOf(Buffer.from('ok')), NO_FIELDS, B, context(A, algorithm));

      const long = { ...answer, mode: 'stream' as const };
      const longPlain: Fields = [[EXCHANGE, formatExchange(long)]];
      const open = await answerer.responseOpen(206, longPlain, request, binding);
      const end = await answerer.responseFinal(206, open.fields, sha256Base64('ok'), 2, request, binding);
      const openHead = SignedHead.response(
        { status: 206, fields: open.fields },
        request,
        streamed,
        context(A, algorithm),
      );
      CompleteMessage.verify(openHead, meterOf(Buffer.from('ok')), end.fields, B, context(A, algorithm));
    }
  });
}

/** One good streamed request, taken apart so that each near miss changes one thing. */
async function goodStream() {
  const exchange = exchangeOf('stream', A, B);
  const signer = new MessageSigner(signingQueue('ed25519'), exchange.id, clock);
  const plain = plainHead(exchange);
  const opened = { ...plain, fields: (await signer.requestOpen(plain)).fields };
  const closing = (await signer.requestFinal(opened, sha256Base64(body), body.length)).fields;
  return { exchange, opened, closing };
}

const replaced = (fields: Fields, name: string, change: (value: string) => string): Fields =>
  fields.map(([n, v]) => (n === name ? [n, change(v)] : [n, v]));

void t.test('a request head that differs in one thing is refused with its code', async (t) => {
  const { opened, exchange } = await goodStream();
  const rows: [string, RequestHead, string, (string | undefined)?, number?][] = [
    ['another method', { ...opened, method: 'PUT' }, 'message.signature_invalid'],
    [
      'another spelling of the path',
      { ...opened, path: opened.path.replace('%20', '+') },
      'message.signature_invalid',
    ],
    ['another query', { ...opened, query: '?q=2' }, 'message.signature_invalid'],
    ['another authority', { ...opened, authority: A }, 'message.signature_invalid'],
    [
      'a changed field',
      { ...opened, fields: replaced(opened.fields, 'x-road-id', () => 'TW-2') },
      'message.signature_invalid',
    ],
    [
      'a field added',
      { ...opened, fields: [...opened.fields, ['x-more', '1']] },
      'message.component_uncovered',
    ],
    [
      'a field removed',
      { ...opened, fields: opened.fields.filter(([n]) => n !== 'content-type') },
      'message.component_uncovered',
    ],
    [
      'fields in another order',
      { ...opened, fields: opened.fields.toReversed() },
      'message.component_uncovered',
    ],
    [
      'no signature',
      { ...opened, fields: opened.fields.filter(([n]) => !n.startsWith('signature')) },
      'message.signature_missing',
    ],
    [
      'another label',
      {
        ...opened,
        fields: replaced(
          replaced(opened.fields, 'signature', (v) => v.replace('open', 'final')),
          'signature-input',
          (v) => v.replace('open', 'final'),
        ),
      },
      'message.signature_missing',
    ],
    [
      'two labels',
      {
        ...opened,
        fields: replaced(
          replaced(opened.fields, 'signature', (v) => `${v}, x=:AAAA:`),
          'signature-input',
          (v) => `${v}, x=()`,
        ),
      },
      'message.signature_missing',
    ],
    [
      'the tag of the other use',
      {
        ...opened,
        fields: replaced(opened.fields, 'signature-input', (v) => v.replace('troad1-open', 'troad1-final')),
      },
      'message.signature_missing',
    ],
    [
      'an algorithm named',
      { ...opened, fields: replaced(opened.fields, 'signature-input', (v) => `${v};alg="ed25519"`) },
      'message.component_uncovered',
    ],
    [
      'another nonce',
      {
        ...opened,
        fields: replaced(opened.fields, 'signature-input', (v) => v.replace(exchange.id, newExchangeId())),
      },
      'message.inconsistent',
    ],
    [
      'an unknown key',
      { ...opened, fields: replaced(opened.fields, 'signature-input', (v) => v.replace('#1', '#2')) },
      'message.key_unknown',
    ],
    [
      'a longer window',
      {
        ...opened,
        fields: replaced(opened.fields, 'signature-input', (v) =>
          v.replace(/expires=(\d+)/, (_, s: string) => `expires=${Number(s) + 1}`),
        ),
      },
      'message.expired',
    ],
    [
      'a signature cut short',
      { ...opened, fields: replaced(opened.fields, 'signature', (v) => v.replace(/:.{8}/, ':')) },
      'message.signature_invalid',
    ],
    [
      'a digest in the headers',
      { ...opened, fields: [...opened.fields, ['content-digest', 'sha-256=:AAAA:']] },
      'message.component_uncovered',
    ],
    [
      'another mode',
      { ...opened, fields: replaced(opened.fields, EXCHANGE, (v) => v.replace('stream', 'full')) },
      'message.signature_missing',
    ],
    [
      'no exchange field',
      { ...opened, fields: opened.fields.filter(([n]) => n !== EXCHANGE) },
      'message.inconsistent',
    ],
    ['another peer on the connection', opened, 'message.key_unknown', B],
    ['a clock 91 seconds later', opened, 'message.expired', A, NOW + 91_000],
    ['a clock 31 seconds earlier', opened, 'message.expired', A, NOW - 31_000],
  ];
  for (const [what, head, code, peer = A, now = NOW] of rows) {
    t.throws(
      () => SignedHead.request(head, peer, context(B, 'ed25519', now)),
      { name: 'Denied', code },
      what,
    );
  }
  t.doesNotThrow(() => SignedHead.request(opened, A, context(B, 'ed25519', NOW + 89_000)));
  const toOther = context(A, 'ed25519');
  t.throws(
    () => SignedHead.request(opened, A, toOther),
    { code: 'message.inconsistent' },
    'meant for another gateway',
  );
});

void t.test('the end of a stream that differs in one thing is refused with its code', async (t) => {
  const { opened, closing } = await goodStream();
  const other = await goodStream();
  const rows: [string, Uint8Array, Fields, string][] = [
    ['one byte flipped', Buffer.from('{"id":"A123456780"}\n'), closing, 'message.digest_mismatch'],
    ['one byte fewer', body.subarray(1), closing, 'message.length_mismatch'],
    ['one byte more', Buffer.concat([body, Buffer.from(' ')]), closing, 'message.length_mismatch'],
    ['no trailers', body, NO_FIELDS, 'message.incomplete'],
    ['the trailers of another message', body, other.closing, 'message.inconsistent'],
    ['a trailer more', body, [...closing, ['x', '1']], 'message.completion'],
    ['a trailer less', body, closing.slice(1), 'message.completion'],
    [
      'another outcome',
      body,
      replaced(closing, 't-road-end', (v) => v.replace('ok', 'no')),
      'message.completion',
    ],
    [
      'a changed signature',
      body,
      replaced(closing, 'signature', (v) => v.replace(/=:./, (first) => (first === '=:/' ? '=:A' : '=:/'))),
      'message.signature_invalid',
    ],
  ];
  for (const [what, bytes, trailers, code] of rows) {
    const signed = SignedHead.request(opened, A, context(B, 'ed25519'));
    t.throws(
      () => CompleteMessage.verify(signed, meterOf(bytes), trailers, A, context(B, 'ed25519')),
      { name: 'Denied', code },
      what,
    );
  }
});

void t.test('a key revoked while a stream runs no longer closes it', async (t) => {
  const { opened, closing } = await goodStream();
  const signed = SignedHead.request(opened, A, context(B, 'ed25519'));
  const revoked: VerifierContext = { ...context(B, 'ed25519'), messageKey: () => undefined };
  t.throws(() => CompleteMessage.verify(signed, meterOf(body), closing, A, revoked), {
    code: 'message.key_unknown',
  });
});

void t.test('an answer to another request is refused', async (t) => {
  const { opened, closing, exchange } = await goodStream();
  const other = await goodStream();
  const request = { kind: 'request' as const, ...opened, trailers: closing };
  const answerer = new MessageSigner(providerQueue, exchange.id, clock);
  const binding: RequestBinding = { mode: 'stream', label: 'final' };
  const field = formatExchange({ ...exchange, mode: 'full', from: B, to: A });
  const wrong = { kind: 'request' as const, ...other.opened, trailers: other.closing };
  const make = async (about: typeof request): Promise<Fields> =>
    (await answerer.responseWhole(200, [[EXCHANGE, field]], sha256Base64('ok'), about, binding)).fields;
  const [ofWrong, ofRequest] = [await make(wrong), await make(request)];
  t.throws(
    () => SignedHead.response({ status: 200, fields: ofWrong }, request, exchange, context(A, 'ed25519')),
    { code: 'response.signature' },
  );
  t.throws(
    () =>
      SignedHead.response({ status: 200, fields: ofRequest }, wrong, other.exchange, context(A, 'ed25519')),
    { code: 'response.binding' },
  );
  t.throws(
    () => SignedHead.response({ status: 201, fields: ofRequest }, request, exchange, context(A, 'ed25519')),
    { code: 'response.signature' },
    'another status',
  );
});

void t.test(
  'messages of one batch: each verifies alone, and what differs in one thing is refused with its code',
  async (t) => {
    const queue = signingQueue('ed25519');
    const signOne = async (mode: Mode): Promise<RequestHead> => {
      const exchange = exchangeOf(mode, A, B, body.length);
      const plain = plainHead(exchange);
      const signer = new MessageSigner(queue, exchange.id, clock);
      const signed =
        mode === 'full' ? signer.requestWhole(plain, sha256Base64(body)) : signer.requestOpen(plain);
      return { ...plain, fields: (await signed).fields };
    };
    const signTogether = (): Promise<RequestHead[]> =>
      Promise.all((['full', 'stream', 'full', 'full', 'stream'] as const).map(signOne));
    const [first, second, third] = await signTogether();
    const [stranger] = await signTogether();
    const alone = await signOne('full');
    if (!first || !second || !third || !stranger) throw new Error('unreachable');

    for (const head of [first, second, third, stranger]) {
      const signed = SignedHead.request(head, A, context(B, 'ed25519'));
      t.equal(signed.params.alg, 'troad-batch');
    }
    t.equal(SignedHead.request(alone, A, context(B, 'ed25519')).params.alg, undefined);

    const signatureOf = (head: RequestHead): Buffer =>
      Buffer.from(/:(.*):/.exec(fieldValue(head.fields, 'signature') ?? '')?.[1] ?? '', 'base64');
    const withSignature = (bytes: Uint8Array): RequestHead => ({
      ...first,
      fields: replaced(first.fields, 'signature', (v) => v.replace(/:.*:/, `:${base64(bytes)}:`)),
    });
    const withInput = (change: (value: string) => string): RequestHead => ({
      ...first,
      fields: replaced(first.fields, 'signature-input', change),
    });
    const own = signatureOf(first);
    const placed = (size: number, index: number): RequestHead =>
      withSignature(Buffer.concat([Buffer.of(size >> 8, size & 255, 0, index), own.subarray(4)]));
    const rows: [string, RequestHead, string][] = [
      ['another place', placed(5, 1), 'message.signature_invalid'],
      ['another size', placed(6, 0), 'message.signature_invalid'],
      ['size 0', placed(0, 0), 'message.signature_invalid'],
      ['size 1', placed(1, 0), 'message.signature_invalid'],
      ['a huge size', placed(65_535, 0), 'message.signature_invalid'],
      ['an index behind the end', placed(5, 5), 'message.signature_invalid'],
      ['the signature of another message', withSignature(signatureOf(third)), 'message.signature_invalid'],
      ['a signature of another tree', withSignature(signatureOf(stranger)), 'message.signature_invalid'],
      ['the root signature alone', withSignature(own.subarray(-64)), 'message.signature_invalid'],
      ['nothing but the head', withSignature(own.subarray(0, 4)), 'message.signature_invalid'],
      ['more behind the end', withSignature(Buffer.concat([own, own])), 'message.signature_invalid'],
      [
        'said to be plain',
        withInput((v) => v.replace(';alg="troad-batch"', '')),
        'message.signature_invalid',
      ],
      ['another alg', withInput((v) => v.replace('troad-batch', 'ed25519')), 'message.component_uncovered'],
      [
        'alg in capitals',
        withInput((v) => v.replace('troad-batch', 'TROAD-batch')),
        'message.component_uncovered',
      ],
      [
        'alg in another place',
        withInput((v) => `${v.replace(';alg="troad-batch"', '')};alg="troad-batch"`),
        'message.component_uncovered',
      ],
      [
        'a plain signature said to be a batch',
        {
          ...alone,
          fields: replaced(alone.fields, 'signature-input', (v) =>
            v.replace(';keyid', ';alg="troad-batch";keyid'),
          ),
        },
        'message.signature_invalid',
      ],
    ];
    const knowing = context(B, 'ed25519');
    SignedHead.request(first, A, knowing);
    for (const [what, head, code] of rows) {
      t.throws(() => SignedHead.request(head, A, context(B, 'ed25519')), { name: 'Denied', code }, what);
      t.throws(
        () => SignedHead.request(head, A, knowing),
        { name: 'Denied', code },
        `${what}; the batch is known`,
      );
    }
    const revoked: VerifierContext = { ...knowing, messageKey: () => undefined };
    t.throws(
      () => SignedHead.request(third, A, revoked),
      { code: 'message.key_unknown' },
      'a known batch, its key revoked',
    );
  },
);

void t.test('open in a batch, the end alone, and the other way round', async (t) => {
  const queue = signingQueue('ed25519');
  for (const together of ['open', 'final']) {
    const exchange = exchangeOf('stream', A, B);
    const other = exchangeOf('full', A, B, body.length);
    const signer = new MessageSigner(queue, exchange.id, clock);
    const neighbour = (): Promise<unknown> =>
      new MessageSigner(queue, other.id, clock).requestWhole(plainHead(other), sha256Base64(body));
    const plain = plainHead(exchange);
    const opening = signer.requestOpen(plain);
    if (together === 'open') await neighbour();
    const opened = { ...plain, fields: (await opening).fields };
    const closing = signer.requestFinal(opened, sha256Base64(body), body.length);
    if (together === 'final') await neighbour();
    const { fields } = await closing;
    const signed = SignedHead.request(opened, A, context(B, 'ed25519'));
    CompleteMessage.verify(signed, meterOf(body), fields, A, context(B, 'ed25519'));
    const inBatch = (bag: Fields): boolean =>
      fieldValue(bag, 'signature-input')?.includes('troad-batch') === true;
    t.same([inBatch(opened.fields), inBatch(fields)], [together === 'open', together === 'final']);
  }
});

void t.test('any changed bit of the signed head or trailers is refused', async () => {
  const { opened, closing } = await goodStream();
  const verify = (head: RequestHead, trailers: Fields): void => {
    const signed = SignedHead.request(head, A, context(B, 'ed25519'));
    CompleteMessage.verify(signed, meterOf(body), trailers, A, context(B, 'ed25519'));
  };
  verify(opened, closing);
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.nat(),
      fc.nat(),
      fc.integer({ min: 0, max: 6 }),
      (inHead, which, where, bit) => {
        const bag = inHead ? opened.fields : closing;
        const index = which % bag.length;
        const [name, value] = bag[index] ?? ['', ''];
        if (value === '') return true;
        const at = where % value.length;
        const flipped = String.fromCharCode(value.charCodeAt(at) ^ (1 << bit));
        const changed = bag.map((field, i): readonly [string, string] =>
          i === index ? [name, value.slice(0, at) + flipped + value.slice(at + 1)] : field,
        );
        try {
          verify(inHead ? { ...opened, fields: changed } : opened, inHead ? closing : changed);
          return false;
        } catch (thrown) {
          return thrown instanceof Error && thrown.name === 'Denied';
        }
      },
    ),
    { numRuns: 600 },
  );
});

void t.test('the exchange field has one spelling', async (t) => {
  const text = formatExchange(exchangeOf('stream', A, B, 5));
  t.equal(formatExchange(parseExchange(text)), text);
  for (const near of [
    text.replace('len=5', 'len=05'),
    `${text} `,
    text.replace('v=1', 'v=2'),
    text.replace(', ', ','),
  ]) {
    t.throws(() => parseExchange(near), { code: 'message.inconsistent' }, near);
  }
});
