import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FAR_NAME } from '../certificates.ts';
import type { Lab } from '../lab.ts';
import { startListening, type Running } from '../spawn.ts';
import { proxyPair, type PairPorts } from './proxy-pair.ts';

const common = `
global
  nbthread 1
  maxconn 4096
  ssl-server-verify required
defaults
  mode http
  timeout connect 10s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  http-reuse always
`;

function farConfiguration(lab: Lab, port: number): string {
  const { far, authority } = lab.certificates;
  const { benchUrl, sinkUrl } = lab.backend;
  return `${common}
frontend far
  bind 127.0.0.1:${port} ssl crt ${far.bundle} ca-file ${authority} verify required ssl-min-ver TLSv1.3 alpn http/1.1
  use_backend sink if { path_beg /sink/ }
  default_backend bench
backend bench
  http-request set-path %[path,regsub(^/bench,)]
  server service ${benchUrl.replace('http://', '')}
backend sink
  http-request set-path %[path,regsub(^/sink,)]
  server service ${sinkUrl.replace('http://', '')}
`;
}

function nearConfiguration(lab: Lab, { port, userPort, farPort }: PairPorts): string {
  const { near, authority } = lab.certificates;
  const tls = `ssl crt ${near.bundle} ca-file ${authority} verify required verifyhost ${FAR_NAME} sni str(${FAR_NAME})`;
  return `${common}
frontend near
  bind 127.0.0.1:${port}
  bind 127.0.0.1:${userPort} ssl crt ${near.bundle} ca-file ${authority} verify required ssl-min-ver TLSv1.3 alpn http/1.1
  default_backend far
backend far
  server far 127.0.0.1:${farPort} ${tls} ssl-min-ver TLSv1.3 alpn http/1.1
`;
}

async function startHaproxy(
  dir: string,
  name: string,
  configuration: string,
  port: number,
): Promise<Running> {
  const file = join(dir, `${name}.cfg`);
  await writeFile(file, configuration);
  return startListening('haproxy', ['-q', '-db', '-f', file], port);
}

/** A second yardstick where haproxy is installed: the same hop, one thread each. */
export const haproxyPair = proxyPair(
  'haproxy',
  (lab, { farPort }) => startHaproxy(lab.dir, 'haproxy-far', farConfiguration(lab, farPort), farPort),
  (lab, ports) => startHaproxy(lab.dir, 'haproxy-near', nearConfiguration(lab, ports), ports.port),
);
