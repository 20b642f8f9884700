/** nginx as a program of ours: own configuration, own files, nothing of the system's installation. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startListening, type Running } from './spawn.ts';

/**
 * Starts nginx with one worker.
 * @param name its folder's name inside `dir`
 * @param http the inside of the `http` block
 * @param port one it listens on, to know when it is ready
 */
export async function startNginx(dir: string, name: string, http: string, port: number): Promise<Running> {
  const home = join(dir, name);
  await mkdir(home);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `  ${kind}_temp_path ${home}/${kind};`)
    .join('\n');
  const configuration = `
daemon off;
worker_processes 1;
pid ${home}/pid;
error_log ${home}/error.log warn;
${process.getuid?.() === 0 ? 'user root;' : '' /* Debian builds in www-data, which cannot read our folder */}
events { worker_connections 4096; }
http {
${temporary}
  access_log off;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  # A connection of a benchmark lives as long as the benchmark. The default would re-make it every 1000 requests.
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
${http}
}
`;
  const file = join(home, 'nginx.conf');
  await writeFile(file, configuration);
  // -e: before it has read the configuration, nginx would log to a folder of the system.
  return startListening('nginx', ['-p', home, '-e', join(home, 'error.log'), '-c', file], port);
}
