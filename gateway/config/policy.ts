import { join } from 'node:path';
import { z } from 'zod';
import type { PolicyConfig } from './config.ts';
import type { ConfigFiles } from './files.ts';

const path = z.string().min(1).max(4096);

/** Which policies there are and who may release them: the part of the schema, and of the configuration made of it. */
export const policySchema = z
  .strictObject({
    bundle: path.describe('Folder of the policy bundle to begin with; troad policy activate replaces it.'),
    store: path
      .optional()
      .describe(
        'Folder where every bundle that decided is kept, by digest. Default: policies beside log.dir.',
      ),
    signers: z
      .array(path)
      .max(16)
      .default([])
      .describe(
        'PEM files: Ed25519 public keys of those who may release a policy. None: bundles are not signed.',
      ),
    threshold: z
      .int()
      .min(1)
      .max(16)
      .optional()
      .describe('How many of the signers have to sign. Default: all of them.'),
    shadow: z
      .array(path)
      .max(8)
      .default([])
      .describe('Folders of bundles that are evaluated beside the one in force: recorded, never enforced.'),
  })
  .refine(({ signers, threshold }) => threshold === undefined || threshold <= signers.length, {
    path: ['threshold'],
    error: 'is more than there are signers',
  });

/** @param logDir folder of the log, as written */
export function assemblePolicy(
  { bundle, store, signers, threshold, shadow }: z.output<typeof policySchema>,
  logDir: string,
  files: ConfigFiles,
): PolicyConfig {
  return {
    bundle: files.folder('/policy/bundle', bundle),
    store: store === undefined ? join(files.absolute(logDir), '..', 'policies') : files.absolute(store),
    signers: signers.map((file, i) => files.readable(`/policy/signers/${i}`, file)),
    threshold: threshold ?? signers.length,
    shadow: shadow.map((folder, i) => files.folder(`/policy/shadow/${i}`, folder)),
  };
}
