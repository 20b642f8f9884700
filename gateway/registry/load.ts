import { createPublicKey, type KeyObject } from 'node:crypto';
import type { EpochMs } from '../core/clock.ts';
import { ConfigError, MalformedBytes } from '../core/errors.ts';
import type { RegistryDocument } from './document.ts';
import { Registry } from './registry.ts';
import { formatJson, SignedPayload, signPayload } from './signature.ts';

/** Issued "later" than this after our clock means that one of the clocks is wrong. */
const SKEW_MS = 300_000;

/** Which signatures make a document the registry of the instance. */
export interface RegistryTrust {
  /** Public keys, Ed25519 or P-256. */
  readonly rootKeys: readonly KeyObject[];
  /** How many of them must have signed; default 1. */
  readonly threshold?: number;
}

/**
 * Reads a registry file for use now.
 * @param previous the registry in use: versions never go back, and one version has one content
 * @throws MalformedBytes not a registry file; ConfigError badly signed, contradictory, or older than `previous`;
 *   Unavailable `registry.expired`
 */
export async function loadRegistry(
  file: Uint8Array,
  trust: RegistryTrust,
  now: EpochMs,
  previous?: Registry,
): Promise<Registry> {
  const registry = await openRegistry(file, trust, previous);
  registry.requireFresh(now);
  if (registry.issuedAt > now + SKEW_MS) {
    throw new ConfigError([`registry: issued in the future (${registry.issuedAt}, our clock says ${now})`]);
  }
  return registry;
}

/** As {@link loadRegistry}, expired ones included: for auditors, and to find out which version was seen last. */
export async function openRegistry(
  file: Uint8Array,
  trust: RegistryTrust,
  previous?: Registry,
): Promise<Registry> {
  const payload = await SignedPayload.verify(file, trust.rootKeys, trust.threshold);
  if (previous?.sha256 === payload.sha256) return previous;
  const registry = Registry.read(payload, previous);
  if (previous !== undefined) requireSuccessor(registry, previous);
  return registry;
}

function requireSuccessor(registry: Registry, previous: Registry): void {
  if (registry.instance !== previous.instance) {
    throw new ConfigError([`registry: of instance ${registry.instance}, not ${previous.instance}`]);
  }
  if (registry.version < previous.version) {
    // An old copy, rightly signed at its time, would bring back revoked keys and ended agreements.
    throw new ConfigError([
      `registry: version ${registry.version} is older than ${previous.version}, which we have`,
    ]);
  }
  if (registry.version === previous.version) {
    throw new ConfigError([`registry: another content under the version ${registry.version}, which we have`]);
  }
}

/**
 * Writes a registry file. What gateways would refuse is not signed.
 * @throws ConfigError with every problem of the document
 */
export async function signRegistry(
  document: RegistryDocument,
  privateKeys: readonly KeyObject[],
): Promise<string> {
  const file = await signPayload(formatJson(document), privateKeys);
  try {
    await openRegistry(Buffer.from(file), {
      rootKeys: privateKeys.map((key) => createPublicKey(key)),
      threshold: privateKeys.length,
    });
  } catch (thrown) {
    if (thrown instanceof MalformedBytes) throw new ConfigError([thrown.message]);
    throw thrown;
  }
  return file;
}
