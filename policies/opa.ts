import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sourcesIn } from '../gateway/commands/policy/compile.ts';
import { Opa, OpaFailed } from '../gateway/commands/policy/opa.ts';

export { OpaFailed, type Opa } from '../gateway/commands/policy/opa.ts';

/** Folder of the policy sources; every path is relative to it. */
export const POLICIES = dirname(fileURLToPath(import.meta.url));

/** What can be evaluated or compiled. */
export const SOURCES = sourcesIn(POLICIES);

/** The version `go.mod` pins. The bundle's bytes depend on it, so no other will do. */
export function pinnedVersion(): string {
  const goMod = readFileSync(`${POLICIES}/go.mod`, 'utf8');
  const version = /\sgithub\.com\/open-policy-agent\/opa v(\S+)/.exec(goMod)?.[1];
  if (version === undefined)
    throw new OpaFailed('policies/go.mod does not name github.com/open-policy-agent/opa');
  return version;
}

/** The `opa` program for this folder. @param timeout milliseconds. @throws OpaFailed saying what to install */
export const findOpa = (timeout?: number): Opa =>
  Opa.find(POLICIES, { version: pinnedVersion(), ...(timeout === undefined ? {} : { timeout }) });
