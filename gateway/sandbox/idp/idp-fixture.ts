import { createPrivateKey, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { Authority, type Identity } from '../../../pki/authority.ts';
import { Idp } from './idp.ts';
import type { Receiver } from './transmitter.ts';

export const AUDIENCE = 'https://gw.a11.tw.troad.example';
export const SEALED = `${AUDIENCE}/sealed`;
export const REDIRECT = 'http://localhost/callback';

export interface IdpLab {
  readonly idp: Idp;
  readonly ca: string;
  readonly client: Identity;
  readonly gatewayKey: KeyObject;
  readonly passkeysFile: string;
}

/** An identity provider alone, with the keys of whoever it works with. */
export async function startIdp(
  dir: string,
  now: () => number = Date.now,
  receivers: readonly Receiver[] = [],
): Promise<IdpLab> {
  const authority = await Authority.create('TW test', Date.now);
  const server = await authority.issueServer();
  const client = await authority.issueClient('welfare information system');
  const gateway = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const passkeysFile = join(dir, 'passkeys.json');
  const idp = await Idp.start({
    jwks: { keys: [{ ...jwkOf(signing), kid: 'idp-1', alg: 'ES256', use: 'sig' }] },
    audience: {
      name: AUDIENCE,
      open: AUDIENCE,
      sealed: SEALED,
      key: { kid: 'gw-1', publicKey: gateway.publicKey },
    },
    clients: [
      { client_id: 'app', token_endpoint_auth_method: 'none', redirect_uris: [REDIRECT] },
      {
        client_id: 'app-mtls',
        token_endpoint_auth_method: 'tls_client_auth',
        tls_client_auth_subject_dn: 'CN=welfare information system',
        tls_client_certificate_bound_access_tokens: true,
        redirect_uris: [REDIRECT],
      },
    ],
    secret: randomBytes(32),
    tls: { key: server.keyPem, cert: server.chainPem, ca: authority.rootPem + authority.issuingPem },
    passkeysFile,
    now,
    ports: { issuer: 0, browser: 0 },
    signals: { key: { kid: 'idp-1', privateKey: signing }, receivers },
  });
  return {
    idp,
    ca: authority.rootPem,
    client,
    gatewayKey: createPrivateKey(pem(gateway.privateKey)),
    passkeysFile,
  };
}

const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
const jwkOf = (key: KeyObject): { kty: 'EC'; crv: string; x: string; y: string; d: string } => {
  const { crv = '', x = '', y = '', d = '' } = key.export({ format: 'jwk' });
  return { kty: 'EC', crv, x, y, d };
};
