import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FAR_NAME, type Identity } from '../certificates.ts';
import type { Lab } from '../lab.ts';
import { startListening, type Running } from '../spawn.ts';
import { proxyPair, type PairPorts } from './proxy-pair.ts';

/** Nothing is fetched, and no port is opened but the one named. */
const common = `{
  admin off
  auto_https off
  log {
    level ERROR
  }
  # A user's machine connects by address and sends no server name.
  servers {
    strict_sni_host insecure_off
  }
}
`;

const mutualTls = ({ certificate, key }: Identity, authority: string): string => `tls ${certificate} ${key} {
    protocols tls1.3
    alpn http/1.1
    client_auth {
      mode require_and_verify
      trusted_ca_cert_file ${authority}
    }
  }`;

function farConfiguration(lab: Lab, port: number): string {
  const { far, authority } = lab.certificates;
  const { benchUrl, sinkUrl } = lab.backend;
  return `${common}
https://:${port} {
  bind 127.0.0.1
  ${mutualTls(far, authority)}
  handle_path /sink/* {
    reverse_proxy ${sinkUrl}
  }
  handle_path /bench/* {
    reverse_proxy ${benchUrl}
  }
}
`;
}

function nearConfiguration(lab: Lab, { port, userPort, farPort }: PairPorts): string {
  const { near, authority } = lab.certificates;
  return `${common}
(far) {
  reverse_proxy https://127.0.0.1:${farPort} {
    header_up Host ${FAR_NAME}
    transport http {
      tls_client_auth ${near.certificate} ${near.key}
      tls_trusted_ca_certs ${authority}
      tls_server_name ${FAR_NAME}
      versions 1.1
      keepalive_idle_conns_per_host 512
    }
  }
}
http://:${port} {
  bind 127.0.0.1
  import far
}
https://:${userPort} {
  bind 127.0.0.1
  ${mutualTls(near, authority)}
  import far
}
`;
}

async function startCaddy(dir: string, name: string, configuration: string, port: number): Promise<Running> {
  const file = join(dir, `${name}.Caddyfile`);
  await writeFile(file, configuration);
  return startListening('caddy', ['run', '--config', file, '--adapter', 'caddyfile'], port, {
    // One worker, as the others have. It keeps state at home.
    env: { PATH: process.env['PATH'], HOME: dir, GOMAXPROCS: '1' },
  });
}

/** A proxy in a language with a garbage collector, where it is installed: the same hop, one thread for Go each. */
export const caddyPair = proxyPair(
  'caddy',
  (lab, { farPort }) => startCaddy(lab.dir, 'caddy-far', farConfiguration(lab, farPort), farPort),
  (lab, ports) => startCaddy(lab.dir, 'caddy-near', nearConfiguration(lab, ports), ports.port),
);
