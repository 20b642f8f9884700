import { createPublicKey, createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EpochMs } from '../core/clock.ts';
import type { IdentityProviderRow } from '../registry/document.ts';
import { GatewayClient, type GatewayClientOptions } from './client/gateway-client.ts';
import type { RelyingParty } from './client/relying-party.ts';
import { Desk } from './desk.ts';
import { ACR } from './idp/levels.ts';
import { Idp } from './idp/idp.ts';
import type { Receiver } from './idp/transmitter.ts';
import type { Agency, SandboxInstance } from './instance.ts';

/** Where the identity provider is and what it is asked for; part of the ready line. */
export interface IdentityEnds {
  readonly issuer: string;
  /** PEM file of the authority behind its certificate. */
  readonly ca: string;
  /** For browsers: to enrol a passkey, and the application of agency A that uses it. */
  readonly enrol: string;
  readonly desk: string;
  /** Resource indicators: an assertion that is signed, and one that is encrypted to the gateway as well (FAL2). */
  readonly resource: string;
  readonly sealedResource: string;
}

/** Client ids at the provider. */
export const CLIENT_ID = { open: 'welfare', certificate: 'welfare-mtls' } as const;
/** Where programs let the provider send the browser that they do not have. Nobody listens there. */
export const SCRIPT_REDIRECT = 'http://localhost/callback';
const MAX_LIFETIME_S = 300;

/** Where agency A's identity provider and its application listen: the same at every start, since others know them. */
export interface IdpPorts {
  readonly issuer: number;
  readonly browser: number;
  readonly desk: number;
}

export interface AgencyIdpOptions {
  /** Agency A's gateway, as its information systems reach it. */
  readonly gateway: Pick<GatewayClientOptions, 'url' | 'origin'>;
  readonly ports: IdpPorts;
  /** Gateways that hear of sessions that end. */
  readonly receivers: readonly Receiver[];
  readonly now: () => EpochMs;
}

/** Agency A's identity provider, and an application of agency A that signs people in there. */
export class AgencyIdp {
  /** How the registry introduces the provider to both gateways. */
  readonly row: IdentityProviderRow;
  readonly ends: IdentityEnds;
  readonly #idp: Idp;
  readonly #desk: Desk;

  private constructor(row: IdentityProviderRow, ends: IdentityEnds, idp: Idp, desk: Desk) {
    this.row = row;
    this.ends = ends;
    this.#idp = idp;
    this.#desk = desk;
  }

  /** @throws PackageMissing */
  static async start(
    instance: SandboxInstance,
    agency: Agency,
    options: AgencyIdpOptions,
  ): Promise<AgencyIdp> {
    const desk = await Desk.start(options.now, options.ports.desk);
    try {
      return await AgencyIdp.#startWith(desk, instance, agency, options);
    } catch (thrown) {
      await desk.close(); // an open listener would keep the process alive
      throw thrown;
    }
  }

  static async #startWith(
    desk: Desk,
    instance: SandboxInstance,
    agency: Agency,
    options: AgencyIdpOptions,
  ): Promise<AgencyIdp> {
    const { gateway, ports, receivers, now } = options;
    const { dir, signingKey, secret, tls } = await instance.identityProvider();
    const { kty = '', crv = '', x = '', y = '', d = '' } = signingKey.export({ format: 'jwk' });
    const jwk = { kty, crv, x, y };
    const kid = createHash('sha256')
      .update(createPublicKey(signingKey).export({ type: 'spki', format: 'der' }))
      .digest('base64url');
    const audience = `https://${agency.name}`;
    const sealed = `${audience}/sealed`;
    const idp = await Idp.start({
      jwks: { keys: [{ ...jwk, kty: 'EC', d, kid, alg: 'ES256', use: 'sig' }] },
      audience: {
        name: audience,
        open: audience,
        sealed,
        key: agency.assertionKey,
      },
      clients: [
        {
          client_id: CLIENT_ID.open,
          token_endpoint_auth_method: 'none',
          redirect_uris: [desk.redirectUri, SCRIPT_REDIRECT],
        },
        {
          client_id: CLIENT_ID.certificate,
          token_endpoint_auth_method: 'tls_client_auth',
          tls_client_auth_subject_dn: 'CN=welfare information system', // of agencies/a11/client.pem
          tls_client_certificate_bound_access_tokens: true,
          redirect_uris: [SCRIPT_REDIRECT],
        },
      ],
      secret,
      tls,
      passkeysFile: join(dir, 'passkeys.json'),
      now,
      ports,
      signals: { key: { kid, privateKey: signingKey }, receivers },
    });
    const party: RelyingParty = {
      issuer: idp.issuer,
      ca: await readFile(join(agency.dir, 'ca.pem'), 'utf8'),
      clientId: CLIENT_ID.open,
      redirectUri: desk.redirectUri,
    };
    const client = new GatewayClient({ ...gateway, client: agency.subsystem });
    desk.connect({ party, idpUrl: idp.browserUrl, resource: sealed, gateway: client });
    const row: IdentityProviderRow = {
      issuer: idp.issuer,
      member: agency.member,
      keys: [{ kid, alg: 'ES256', jwk }],
      acr: [
        { value: ACR.aal1, ial: 2, aal: 1 },
        { value: ACR.aal2, ial: 2, aal: 2 },
        { value: ACR.aal3, ial: 2, aal: 3 },
      ],
      maxLifetimeSeconds: MAX_LIFETIME_S,
    };
    const ends: IdentityEnds = {
      issuer: idp.issuer,
      ca: join(agency.dir, 'ca.pem'),
      enrol: `${idp.browserUrl}/enrol`,
      desk: desk.url,
      resource: audience,
      sealedResource: sealed,
    };
    return new AgencyIdp(row, ends, idp, desk);
  }

  async close(): Promise<void> {
    await Promise.all([this.#desk.close(), this.#idp.close()]);
  }
}
