import { base64url, sha256 } from '../core/bytes.ts';
import { Denied } from '../core/errors.ts';
import type { SubsystemId } from '../core/ids.ts';

/**
 * The least a subsystem's client systems must show. `loopback`: plain HTTP from this very machine. `https`: TLS that
 * proves the gateway only. `mtls` (the default): TLS with a registered client certificate.
 */
export type ClientAccess = 'loopback' | 'https' | 'mtls';

export interface LocalSubsystem {
  readonly id: SubsystemId;
  readonly access: ClientAccess;
  /** SHA-256 of registered client certificates (DER), base64url. */
  readonly certificates: readonly string[];
}

export interface SubsystemDirectory {
  localSubsystem(id: SubsystemId): LocalSubsystem | undefined;
}

/** Facts about the connection a request came on, from the socket and from TLS, never from header fields. */
export interface ClientConnectionFacts {
  readonly tls: boolean;
  /** Both ends have loopback addresses. */
  readonly loopback: boolean;
  /** DER of the leaf whose key TLS proved. */
  readonly certificate?: Uint8Array;
}

/** Proof that a request may speak for a subsystem of this gateway, and how that was shown. */
export class ClientSystem {
  declare protected readonly nominal: never;
  readonly subsystem: SubsystemId;
  readonly method: ClientAccess;
  /** SHA-256 of the registered certificate that was shown, base64url; with `mtls` only. */
  readonly certificate?: string;

  private constructor(subsystem: SubsystemId, method: ClientAccess, certificate?: string) {
    this.subsystem = subsystem;
    this.method = method;
    if (certificate !== undefined) this.certificate = certificate;
  }

  /**
   * @param claimed what `X-Road-Client` says
   * @throws Denied `client.unknown`, `client.certificate_missing`, `client.certificate_unknown`
   */
  static identify(
    connection: ClientConnectionFacts,
    claimed: SubsystemId,
    directory: SubsystemDirectory,
  ): ClientSystem {
    const known = directory.localSubsystem(claimed);
    if (known === undefined) throw new Denied('client.unknown', `${claimed} is not served here`);
    const { access, certificates } = known;
    if (connection.tls && connection.certificate !== undefined) {
      const shown = fingerprint(connection.certificate);
      if (certificates.includes(shown)) return new ClientSystem(known.id, 'mtls', shown);
      if (access === 'mtls') throw new Denied('client.certificate_unknown', `${claimed}: ${shown}`);
      // Where no certificate is asked for, one that nobody registered proves nothing and spoils nothing.
    }
    switch (access) {
      case 'mtls':
        break;
      case 'https':
        if (connection.tls) return new ClientSystem(known.id, 'https');
        break;
      case 'loopback':
        // From another machine this is refused even over TLS: nothing would say who is asking.
        if (connection.loopback) return new ClientSystem(known.id, 'loopback');
        break;
    }
    throw new Denied('client.certificate_missing', `${claimed}: ${access} is required`);
  }
}

/** SHA-256 of the client certificate that TLS proved, base64url; undefined without one. */
export const certificateSha256 = ({ tls, certificate }: ClientConnectionFacts): string | undefined =>
  tls && certificate !== undefined ? fingerprint(certificate) : undefined;

/** One TLS connection carries many requests with the same certificate object: hash it once. */
const fingerprints = new WeakMap<Uint8Array, string>();

function fingerprint(der: Uint8Array): string {
  const known = fingerprints.get(der);
  if (known !== undefined) return known;
  const hash = base64url(sha256(der));
  fingerprints.set(der, hash);
  return hash;
}
