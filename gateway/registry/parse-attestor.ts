import { parseMemberId } from '../core/ids.ts';
import { type DeviceDemand, type DeviceMinimum, RESIDENCIES } from '../device/demand.ts';
import type { DeviceClass } from '../device/ear.ts';
import { MAX_RESULT_SECONDS } from '../device/revocations.ts';
import { TIERS } from '../device/tier.ts';
import type { AttestorKeyRow, AttestorRow } from './document.ts';
import { httpsUrl, jwk, keyId, within } from './parse-identity.ts';
import { BAD, type Bad, type Problems, whole } from './problems.ts';

const MAX_KEYS = 16;
const MAX_MEMBERS = 100_000;
/** Below this no renewal comes in time. */
const MIN_RESULT_SECONDS = 5;

/** The demand of an agreement: the word `none`, or minimums for endpoint, node or both. */
export function deviceDemand(raw: unknown, path: string, problems: Problems): 'none' | DeviceDemand | Bad {
  if (typeof raw !== 'object' || raw === null) return problems.oneOf<'none'>(raw, path, ['none']);
  const o = problems.object(raw, path, ['endpoint', 'node']);
  if (o === BAD) return BAD;
  // {} would look like a demand and be none.
  if (o.endpoint === undefined && o.node === undefined)
    return problems.add(path, 'expected "endpoint", "node" or both; "none" where any machine will do');
  return whole<DeviceDemand>({
    ...(o.endpoint === undefined ? {} : { endpoint: minimum(o.endpoint, `${path}/endpoint`, problems) }),
    ...(o.node === undefined ? {} : { node: minimum(o.node, `${path}/node`, problems) }),
  });
}

/** All three members: one left out would be a demand left out. */
function minimum(raw: unknown, path: string, problems: Problems): DeviceMinimum | Bad {
  const o = problems.object(raw, path, ['tpm', 'health', 'residency']);
  if (o === BAD) return BAD;
  return whole<DeviceMinimum>({
    tpm: problems.oneOf(o.tpm, `${path}/tpm`, TIERS),
    health: problems.oneOf(o.health, `${path}/health`, TIERS),
    residency: problems.oneOf(o.residency, `${path}/residency`, RESIDENCIES),
  });
}

export function attestor(raw: unknown, path: string, problems: Problems): AttestorRow | Bad {
  const o = problems.object(raw, path, [
    'issuer',
    'members',
    'classes',
    'keys',
    'maxLifetimeSeconds',
    'revocations',
  ]);
  if (o === BAD) return BAD;
  return whole<AttestorRow>({
    issuer: problems.text(o.issuer, `${path}/issuer`, 'up to 200 printable characters', keyId),
    members: problems.list(o.members, `${path}/members`, MAX_MEMBERS, (item, at) =>
      problems.text(item, at, 'instance/class/member', parseMemberId),
    ),
    classes: problems.list(o.classes, `${path}/classes`, 2, (item, at) =>
      problems.oneOf<DeviceClass>(item, at, ['endpoint', 'node']),
    ),
    keys: keys(o.keys, `${path}/keys`, problems),
    maxLifetimeSeconds: within(
      o.maxLifetimeSeconds,
      `${path}/maxLifetimeSeconds`,
      MIN_RESULT_SECONDS,
      MAX_RESULT_SECONDS,
      problems,
    ),
    ...(o.revocations === undefined
      ? {}
      : { revocations: feed(o.revocations, `${path}/revocations`, problems) }),
  });
}

function feed(raw: unknown, path: string, problems: Problems): NonNullable<AttestorRow['revocations']> | Bad {
  const o = problems.object(raw, path, ['url', 'keys']);
  if (o === BAD) return BAD;
  return whole<NonNullable<AttestorRow['revocations']>>({
    url: problems.text(o.url, `${path}/url`, 'an https URL', httpsUrl),
    ...(o.keys === undefined ? {} : { keys: keys(o.keys, `${path}/keys`, problems) }),
  });
}

const keys = (raw: unknown, path: string, problems: Problems): AttestorKeyRow[] =>
  problems.list(raw, path, MAX_KEYS, (item, at) => {
    const o = problems.object(item, at, ['kid', 'jwk']);
    if (o === BAD) return BAD;
    return whole<AttestorKeyRow>({
      kid: problems.text(o.kid, `${at}/kid`, 'up to 200 printable characters', keyId),
      jwk: jwk(o.jwk, `${at}/jwk`, problems),
    });
  });
