import { FAR_NAME, type Identity } from '../certificates.ts';
import type { Lab } from '../lab.ts';
import { startNginx } from '../nginx.ts';
import { proxyPair, type PairPorts } from './proxy-pair.ts';

/** Idle connections kept to the next hop; more than any load uses. */
const KEPT = 512;

/** Streams pass through without touching a disk. Buffer sizes are nginx's own: larger ones help bulk, harm first bytes. */
const streaming = `
  client_max_body_size 0;
  proxy_http_version 1.1;
  proxy_set_header Connection '';
  proxy_max_temp_file_size 0;`;

const kept = 'keepalive_requests 1000000000; keepalive_timeout 1h;';

const mutualTls = ({ certificate, key }: Identity, authority: string): string => `ssl_protocols TLSv1.3;
    ssl_certificate ${certificate};
    ssl_certificate_key ${key};
    ssl_client_certificate ${authority};
    ssl_verify_client on;`;

function farConfiguration(lab: Lab, port: number): string {
  const { far, authority } = lab.certificates;
  const bench = lab.backend.benchUrl.replace('http://', '');
  const sink = lab.backend.sinkUrl.replace('http://', '');
  return `${streaming}
  upstream bench { server ${bench}; keepalive ${KEPT}; ${kept} }
  upstream sink { server ${sink}; keepalive ${KEPT}; ${kept} }
  server {
    listen 127.0.0.1:${port} ssl;
    ${mutualTls(far, authority)}
    location /bench/ { proxy_pass http://bench/; }
    location /sink/ { proxy_pass http://sink/; proxy_request_buffering off; }
  }`;
}

function nearConfiguration(lab: Lab, { port, userPort, farPort }: PairPorts): string {
  const { near, authority } = lab.certificates;
  return `${streaming}
  upstream far { server 127.0.0.1:${farPort}; keepalive ${KEPT}; ${kept} }
  proxy_ssl_protocols TLSv1.3;
  proxy_ssl_certificate ${near.certificate};
  proxy_ssl_certificate_key ${near.key};
  proxy_ssl_trusted_certificate ${authority};
  proxy_ssl_verify on;
  proxy_ssl_name ${FAR_NAME};
  proxy_ssl_server_name on;
  server {
    listen 127.0.0.1:${port};
    listen 127.0.0.1:${userPort} ssl;
    ${mutualTls(near, authority)}
    location /bench/ { proxy_pass https://far; }
    location /sink/ { proxy_pass https://far; proxy_request_buffering off; }
  }`;
}

/** The yardstick: two nginx proxies with mutual TLS 1.3 between them and none of a gateway's other duties. */
export const nginxPair = proxyPair(
  'nginx',
  (lab, { farPort }) => startNginx(lab.dir, 'nginx-far', farConfiguration(lab, farPort), farPort),
  (lab, ports) => startNginx(lab.dir, 'nginx-near', nearConfiguration(lab, ports), ports.port),
);
