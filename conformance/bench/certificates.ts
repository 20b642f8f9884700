/** P-256 certificates for the proxies we compare with, made by the openssl program: independent of our own code. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './spawn.ts';

export interface Identity {
  readonly key: string;
  readonly certificate: string;
  /** Certificate and key in one file, as haproxy wants them. */
  readonly bundle: string;
}

/** Paths of PEM files. `near` is the proxy beside the client, `far` the one beside the service, `user` a client's machine. */
export interface Certificates {
  readonly authority: string;
  readonly near: Identity;
  readonly far: Identity;
  readonly user: Identity;
}

/** The name in the far proxy's certificate, which the near one insists on. */
export const FAR_NAME = 'far.bench.test';
const NEAR_NAME = 'near.bench.test';

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

export async function makeCertificates(parent: string): Promise<Certificates> {
  const dir = join(parent, 'pki');
  await mkdir(dir);
  const authority = join(dir, 'ca.pem');
  const authorityKey = join(dir, 'ca.key');
  await run('openssl', [
    'req',
    '-x509',
    ...newKey,
    '-subj',
    '/CN=Bench CA',
    '-keyout',
    authorityKey,
    '-out',
    authority,
  ]);

  const issue = async (name: string): Promise<Identity> => {
    const path = (extension: string): string => join(dir, `${name}.${extension}`);
    const [key, request, certificate, bundle] = [
      path('key'),
      path('csr'),
      path('pem'),
      path('bundle'),
    ] as const;
    await run('openssl', ['req', ...newKey, '-subj', `/CN=${name}`, '-keyout', key, '-out', request]);
    const extensions = path('ext');
    await writeFile(extensions, `subjectAltName=DNS:${name}\nextendedKeyUsage=serverAuth,clientAuth\n`);
    await run('openssl', [
      ...['x509', '-req', '-in', request, '-CA', authority, '-CAkey', authorityKey, '-CAcreateserial'],
      ...['-days', '2', '-extfile', extensions, '-out', certificate],
    ]);
    await writeFile(bundle, Buffer.concat([await readFile(certificate), await readFile(key)]), {
      mode: 0o600,
    });
    return { key, certificate, bundle };
  };
  return {
    authority,
    near: await issue(NEAR_NAME),
    far: await issue(FAR_NAME),
    user: await issue('user.bench.test'),
  };
}
