import { FAR_NAME, type Certificates } from '../certificates.ts';
import { start } from '../spawn.ts';

/** Runs `openssl s_client` and returns what it printed, the server's answer included. It may well fail: that is an answer too. */
async function handshake(port: number, args: readonly string[]): Promise<string> {
  const client = start(
    'openssl',
    ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', FAR_NAME, ...args],
    {
      stdio: ['pipe', 'pipe', 'ignore'],
    },
  );
  let output = '';
  client.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  client.child.stdin?.on('error', () => undefined); // the server may hang up while we still write
  client.child.stdin?.end(`GET /bench/echo HTTP/1.1\r\nHost: ${FAR_NAME}\r\nConnection: close\r\n\r\n`);
  const hangUp = setTimeout(() => void client.stop(), 5000);
  await new Promise((resolve) => client.child.once('close', resolve));
  clearTimeout(hangUp);
  return output;
}

/**
 * Makes sure that the hop we compare with is what we say it is.
 * @returns protocol and suite
 * @throws Error unless it speaks TLS 1.3 to a client with a certificate and answers nothing to one without
 */
export async function inspectHop(certificates: Certificates, port: number): Promise<Record<string, string>> {
  const { near, authority } = certificates;
  const known = ['-CAfile', authority, '-verify_return_error', '-ign_eof'];
  const welcome = await handshake(port, ['-cert', near.certificate, '-key', near.key, ...known]);
  const suite = /New, (TLSv1\.3), Cipher is (\S+)/.exec(welcome);
  if (suite === null || !/HTTP\/1\.1 200 OK/.test(welcome)) {
    throw new Error(`the hop is not TLS 1.3 that answers 200: ${welcome.slice(-400)}`);
  }
  const stranger = await handshake(port, known);
  if (/HTTP\/1\.1 200 OK/.test(stranger)) throw new Error('the hop answers a client without a certificate');
  return { tls: suite.slice(1).join(' ') };
}
