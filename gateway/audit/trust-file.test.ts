import t from 'tap';
import { trustDocument } from '../../conformance/builders/exchanges.ts';
import { CONSUMER, PROVIDER } from '../../conformance/builders/log.ts';
import { parseTrustFile } from './trust-file.ts';

void t.test('a good file is read', async (t) => {
  const trust = parseTrustFile(JSON.stringify(trustDocument()));
  t.equal(trust.gateways.size, 2);
  t.equal(trust.logs.size, 4);
  t.match(
    [...trust.messageKeys.values()],
    [
      { alg: 'ecdsa-p256-sha256', gateway: { name: CONSUMER, member: 'TW/GOV/A11' } },
      { alg: 'ed25519', gateway: { name: PROVIDER } },
    ],
  );
});

void t.test('trust files are read strictly', async (t) => {
  const wrong = (change: (document: ReturnType<typeof trustDocument>) => unknown): string => {
    const document = trustDocument();
    const changed = change(document);
    return JSON.stringify(changed === undefined ? document : changed);
  };
  for (const [what, text, problem] of [
    ['not JSON', '{', /is not JSON/],
    ['a list', '[]', /not an object/],
    ['an unknown member', wrong((d) => ({ ...d, extra: 1 })), /extra.*not a member/],
    ['no gateways', wrong((d) => ({ instance: d.instance })), /gateways: not a list/],
    [
      'policy signers without a threshold',
      wrong((d) => {
        Object.assign(d.gateways[0] ?? {}, { policy: [{ signers: ['x'], notBefore: 0, notAfter: 1 }] });
      }),
      /gateways\[0\].policy\[0\]: no threshold/,
    ],
    [
      'policy signers that are no keys',
      wrong((d) => {
        const row = { signers: ['x'], threshold: 1, notBefore: 0, notAfter: 1 };
        Object.assign(d.gateways[0] ?? {}, { policy: [row] });
      }),
      /gateways\[0\].policy\[0\]: /,
    ],
    [
      'a bad member',
      wrong((d) => {
        Object.assign(d.gateways[0] ?? {}, { member: 'A11' });
      }),
      /gateways\[0\].member/,
    ],
    [
      'a log key of another log',
      wrong((d) => {
        Object.assign(d.gateways[0]?.logs[0] ?? {}, { origin: 'x' });
      }),
      /is the key of/,
    ],
    [
      'one name twice',
      wrong((d) => {
        Object.assign(d.gateways[1] ?? {}, { name: CONSUMER });
      }),
      /twice/,
    ],
    [
      'an unknown algorithm',
      wrong((d) => {
        Object.assign(d.gateways[0]?.messageKeys[0] ?? {}, { alg: 'none' });
      }),
      /not known/,
    ],
    [
      'a key for another algorithm',
      wrong((d) => {
        Object.assign(d.gateways[0]?.messageKeys[0] ?? {}, { alg: 'ed25519' });
      }),
      /spki/,
    ],
    [
      'a time as text',
      wrong((d) => {
        Object.assign(d.gateways[0]?.messageKeys[0] ?? {}, { notAfter: '2027' });
      }),
      /notAfter/,
    ],
  ] as const) {
    t.throws(() => parseTrustFile(text), { name: 'ConfigError', message: problem }, what);
  }
});
