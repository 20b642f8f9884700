import { constants, X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import { base64url, sha256 } from '../core/bytes.ts';
import { Denied, quoted } from '../core/errors.ts';
import { lentChunk } from '../core/lending.ts';
import { broken } from './failures.ts';
import {
  PROTOCOLS,
  type LinkCredentials,
  type LinkProtocol,
  type LinkSession,
  type LinkTarget,
  type LinkTls,
} from './link.ts';
import type { LentReads, TakeBytes } from './lent-reads.ts';

const HYBRID = 'X25519MLKEM768';

/**
 * What both ends ask of TLS. Nothing is resumed: a ticket would carry yesterday's trust past today's revocation, and
 * Node skips its identity check on a resumed session.
 */
export function secureContextOptions(
  credentials: LinkCredentials,
  requireHybrid: boolean,
): tls.SecureContextOptions {
  return {
    key: credentials.key,
    cert: credentials.cert,
    ca:
      typeof credentials.ca === 'object' && !Buffer.isBuffer(credentials.ca)
        ? [...credentials.ca]
        : credentials.ca,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    // Post-quantum hybrid first: traffic recorded today stays closed to tomorrow's computers.
    ecdhCurve: requireHybrid ? HYBRID : `${HYBRID}:X25519:P-256`,
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    // Without `newSession`/`resumeSession` listeners Node keeps no server-side sessions either; the time limit is for
    // whoever adds one by mistake.
    sessionTimeout: 1,
  };
}

export const spkiOf = (certificate: X509Certificate): string =>
  base64url(sha256(certificate.publicKey.export({ type: 'spki', format: 'der' })));

/** A TLS connection whose both ends have proved their keys. Made after the handshake and never for a resumed one. */
export class TlsSession implements LinkSession {
  readonly id: string;
  readonly protocol: LinkProtocol;
  readonly tls: LinkTls;
  readonly peerCertificate: Buffer;
  readonly remote: string;
  readonly spki: string;
  /** End of the leaf's validity, milliseconds since 1970. */
  readonly expires: number;
  readonly socket: tls.TLSSocket;
  readonly #reads: LentReads | undefined;

  /**
   * @param reads how a connection that we opened is read
   * @throws Denied `peer.certificate`
   */
  constructor(
    id: string,
    socket: tls.TLSSocket,
    side: 'client' | 'server',
    requireHybrid: boolean,
    reads?: LentReads,
  ) {
    const certificate = socket.getPeerX509Certificate();
    const protocol = socket.alpnProtocol;
    if (!socket.authorized || certificate === undefined) {
      throw new Denied('peer.certificate', 'no verified certificate');
    }
    if (socket.getProtocol() !== 'TLSv1.3' || socket.isSessionReused()) {
      throw new Denied('peer.certificate', 'not a fresh TLS 1.3 handshake');
    }
    if (!isProtocol(protocol)) {
      throw new Denied('peer.certificate', 'no protocol was agreed by ALPN'); // RFC 9325 §3.7: nothing is guessed
    }
    this.id = id;
    this.socket = socket;
    this.#reads = reads;
    this.protocol = protocol;
    this.peerCertificate = certificate.raw;
    this.spki = spkiOf(certificate);
    this.expires = Date.parse(certificate.validTo);
    this.remote = `${socket.remoteAddress ?? '?'}:${socket.remotePort ?? 0}`;
    this.tls = {
      v: 'TLSv1.3',
      suite: socket.getCipher().standardName,
      g: groupOf(socket, side, requireHybrid),
      peer: base64url(sha256(certificate.raw)),
    };
  }

  exportKeyingMaterial(label: string, length: number): Buffer {
    if (this.socket.destroyed) throw broken('the session is gone');
    return this.socket.exportKeyingMaterial(length, label, Buffer.alloc(0));
  }

  /** Hands over every byte that comes, in order, with the memory it lies in. Called once, in place of reading the socket. */
  read(take: TakeBytes): void {
    if (this.#reads !== undefined) return this.#reads.begin(this.socket, take);
    // Of accepted connections the runtime takes no buffers of ours.
    this.socket.on('data', (chunk: Buffer) => {
      const lent = lentChunk(chunk);
      take(chunk, lent);
      lent.done();
    });
  }

  end(cause: Error): void {
    this.socket.destroy(broken('the session is no longer trusted', cause));
  }
}

const isProtocol = (name: string | false | null): name is LinkProtocol =>
  PROTOCOLS.some((known) => known === name);

function groupOf(socket: tls.TLSSocket, side: 'client' | 'server', requireHybrid: boolean): string {
  if (requireHybrid) return HYBRID; // the only one that was offered
  if (side === 'server') return 'unknown'; // Node tells it to the connecting side only
  const info = socket.getEphemeralKeyInfo();
  return info !== null && 'name' in info && typeof info.name === 'string' ? info.name : 'unknown';
}

/**
 * Is this the gateway that the registry names? The name must stand in the certificate as it is (no wildcard, no common
 * name), and the key must be a listed one: a mis-issued certificate does not help without it.
 * @throws Denied `peer.certificate` | `peer.key`
 */
export function requireTarget(session: TlsSession, target: LinkTarget): void {
  const certificate = new X509Certificate(session.peerCertificate);
  const name = certificate.checkHost(target.name, { subject: 'never', wildcards: false });
  if (name !== target.name) {
    throw new Denied('peer.certificate', `not issued for ${quoted(target.name)}`);
  }
  requireKey(session, target);
}

/** @throws Denied `peer.key` */
export function requireKey(session: TlsSession, target: LinkTarget): void {
  if (!target.spki.includes(session.spki)) {
    throw new Denied('peer.key', `${session.spki} is not registered for ${quoted(target.name)}`);
  }
}
