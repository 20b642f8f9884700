/**
 * The small requests of a benchmark are a user's, who sits at another machine: each carries an assertion, bound to the
 * certificate that this machine shows in TLS.
 */
import type { Identity } from './certificates.ts';
import { startNginx } from './nginx.ts';
import { freePort } from './spawn.ts';
import type { Connections, Target } from './subjects/subject.ts';

export const CLIENT_FIELD = { 'X-Road-Client': 'TW/GOV/A11/welfare' };

export const userFields = (assertion: string): Target['headers'] => ({
  ...CLIENT_FIELD,
  'T-Road-Assertion': assertion,
});

/** For a subject that does not look at them: as many bytes. */
export const UNREAD_FIELDS = userFields('x'.repeat(638));

export interface UserMachine {
  /** Plain HTTP; what comes here goes on over mutual TLS. */
  readonly url: Readonly<Record<Connections, string>>;
  stop(): Promise<void>;
}

/**
 * wrk has no client certificate: an nginx has one in its place. It belongs to the load, its CPU time does not count.
 * @param to host and port of a listener that wants mutual TLS
 */
export async function startUserMachine(
  dir: string,
  name: string,
  to: string,
  { certificate, key }: Pick<Identity, 'certificate' | 'key'>,
): Promise<UserMachine> {
  const [port, newPort] = [await freePort(), await freePort()];
  const onward = `
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_ignore_client_abort on;
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_certificate ${certificate};
      proxy_ssl_certificate_key ${key};`;
  // A load that ends leaves requests behind: to hang up on them would charge the next load for new handshakes.
  const machine = await startNginx(
    dir,
    `${name}-user`,
    `
  upstream gateway { server ${to}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 1h; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass https://gateway;
      proxy_set_header Connection '';${onward}
    }
  }
  server {
    listen 127.0.0.1:${newPort};
    location / {
      proxy_pass https://${to};
      proxy_ssl_session_reuse off;${onward}
    }
  }`,
    port,
  );
  const url = { kept: `http://127.0.0.1:${port}`, new: `http://127.0.0.1:${newPort}` };
  return { url, stop: () => machine.stop() };
}
