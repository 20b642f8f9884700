import { z } from 'zod';
import type { ReplicasConfig } from './config.ts';
import type { ConfigFiles } from './files.ts';
import { isLoopback, path, seconds } from './values.ts';

// What several processes, on several machines, have in common as one gateway.

export const replicasSchema = z.strictObject({
  store: z
    .string()
    .max(300)
    .refine(isStoreUrl, {
      error: 'expected redis://HOST:PORT/DATABASE or rediss://…, without user and password',
    })
    .describe('Valkey or Redis that all replicas of this gateway share. Off loopback: rediss.'),
  secretFile: path.describe(
    'File with a secret of at least 32 characters that all replicas share: nonces of one are good at all.',
  ),
  user: z.string().min(1).max(200).optional().describe('User of the store, where it is not the default one.'),
  passwordFile: path.optional().describe('File with the password of the store.'),
  ca: path
    .optional()
    .describe('PEM file: the only authorities accepted for rediss. Default: those of the system.'),
  timeoutSeconds: seconds(0.05, 30)
    .default(1)
    .describe('The store must have answered; without an answer nothing is admitted.'),
});

function isStoreUrl(text: string): boolean {
  return (
    /^rediss?:\/\/(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?(?:\/\d{1,3})?$/.test(text) &&
    URL.canParse(text)
  );
}

type ReplicasDocument = z.output<typeof replicasSchema>;

export function findReplicaContradictions(
  replicas: ReplicasDocument | undefined,
  report: (path: string, what: string) => void,
): void {
  if (replicas === undefined) return;
  const tls = replicas.store.startsWith('rediss:');
  // Whoever can answer in the store's place decides what counts as used.
  if (!tls && !isLoopback(new URL(replicas.store).hostname.replace(/^\[|\]$/g, '')))
    report('/replicas/store', 'off loopback the store is reached by rediss: TLS');
  if (!tls && replicas.ca !== undefined) report('/replicas/ca', 'is for a rediss store');
  if (replicas.user !== undefined && replicas.passwordFile === undefined)
    report('/replicas/user', 'needs a passwordFile');
}

export function assembleReplicas(
  { store, secretFile, user, passwordFile, ca, timeoutSeconds }: ReplicasDocument,
  files: ConfigFiles,
): ReplicasConfig {
  const { protocol, hostname, port, pathname } = new URL(store);
  return {
    store: {
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? 6379 : Number(port),
      database: Number(pathname.slice(1)),
      tls: protocol === 'rediss:',
    },
    secretFile: files.secret('/replicas/secretFile', secretFile),
    ...(user !== undefined && { user }),
    ...(passwordFile !== undefined && { passwordFile: files.secret('/replicas/passwordFile', passwordFile) }),
    ...(ca !== undefined && { ca: files.readable('/replicas/ca', ca) }),
    timeoutMs: Math.round(timeoutSeconds * 1000),
  };
}
