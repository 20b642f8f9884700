import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import type { LinkCredentials } from './link.ts';

const GROUPS = 'X25519MLKEM768:X25519:P-256';
const TIMEOUT_MS = 5000;

/**
 * A real TLS handshake of the gateway with itself, both sides showing the link certificate: finds a missing issuer, a
 * wrong anchor, a key of another certificate, exactly as a peer would.
 * @throws what TLS says
 */
export async function handshake(
  { key, cert, ca }: Pick<LinkCredentials, 'key' | 'cert'> & { readonly ca: string | Buffer },
  name: string,
): Promise<{ protocol: string; group: string }> {
  const credentials = { key, cert, ca, minVersion: 'TLSv1.3', ecdhCurve: GROUPS } as const;
  const server = createServer({ ...credentials, requestCert: true, rejectUnauthorized: true });
  try {
    return await new Promise((resolve, reject) => {
      let client: TLSSocket | undefined;
      const fail = (error: Error): void => {
        clearTimeout(timer);
        client?.destroy();
        reject(error);
      };
      const timer = setTimeout(() => fail(new Error('no handshake in time')), TIMEOUT_MS);
      // For good: what comes later must not end a gateway that checks its new files.
      server.on('error', fail);
      server.on('tlsClientError', fail);
      server.on('secureConnection', (socket) => {
        socket.on('error', () => undefined);
        socket.end('.'); // TLS 1.3: only data from the server shows that it accepted the client
      });
      server.listen(0, '127.0.0.1', () => {
        const { port } = server.address() as AddressInfo; // it listens on a port
        client = connect({ ...credentials, host: '127.0.0.1', port, servername: name });
        client.on('error', fail);
        client.once('data', () => {
          clearTimeout(timer);
          const info = client?.getEphemeralKeyInfo();
          const group = info !== null && info !== undefined && 'name' in info ? String(info.name) : 'unknown';
          resolve({ protocol: client?.getProtocol() ?? 'unknown', group });
          client?.destroy();
        });
      });
    });
  } finally {
    server.close();
  }
}
