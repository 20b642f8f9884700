import { MalformedBytes, quoted } from '../core/errors.ts';
import type { MemberId } from '../core/ids.ts';
import type { AttestorKey } from '../device/attested-device.ts';
import type { DeviceClass } from '../device/ear.ts';
import type { TokenKey } from '../device/token.ts';
import { readPublicJwk, thumbprintOf } from '../identity/jwk.ts';
import type { AttestorKeyRow, AttestorRow, RegistryDocument } from './document.ts';
import type { Attestor } from './entries.ts';
import type { Problems } from './problems.ts';

export interface Attestors {
  readonly attestors: ReadonlyMap<string, Attestor>;
  /** Keys that may sign results about devices of a member, by class. */
  readonly attestorKeys: Readonly<Record<DeviceClass, ReadonlyMap<MemberId, readonly AttestorKey[]>>>;
}

/** Reads the keys of attestation services, and reports everything that does not fit together. */
export function resolveAttestors(
  document: RegistryDocument,
  members: { has(id: MemberId): boolean },
  problems: Problems,
): Attestors {
  const attestors = new Map<string, Attestor>();
  const attestorKeys = {
    endpoint: new Map<MemberId, AttestorKey[]>(),
    node: new Map<MemberId, AttestorKey[]>(),
  };
  const taken = { kids: new Map<string, string>(), thumbprints: new Map<string, string>() };
  for (const [i, row] of (document.attestors ?? []).entries()) {
    const path = `/attestors/${i}`;
    if (attestors.has(row.issuer)) problems.add(`${path}/issuer`, `${quoted(row.issuer)} is there twice`);
    for (const name of ['members', 'classes', 'keys'] as const) {
      if (row[name].length === 0) problems.add(`${path}/${name}`, 'none');
    }
    const keys = readKeys(row, row.keys, `${path}/keys`, taken, problems).map((key) =>
      Object.freeze({ ...key, maxLifeSeconds: row.maxLifetimeSeconds }),
    );
    const signing = row.revocations?.keys;
    const revocationKeys =
      signing === undefined ? keys : readKeys(row, signing, `${path}/revocations/keys`, taken, problems);
    attestors.set(row.issuer, Object.freeze({ issuer: row.issuer, keys, revocationKeys, row }));
    for (const [j, member] of row.members.entries()) {
      if (!members.has(member)) problems.add(`${path}/members/${j}`, 'unknown member');
      for (const kind of row.classes) {
        const known = attestorKeys[kind].get(member);
        if (known === undefined) attestorKeys[kind].set(member, [...keys]);
        else known.push(...keys);
      }
    }
  }
  return { attestors, attestorKeys };
}

interface Taken {
  readonly kids: Map<string, string>;
  readonly thumbprints: Map<string, string>;
}

/** Keys are found by id alone, whosever they are: an id belongs to one issuer, and so does a key. */
function readKeys(
  row: AttestorRow,
  rows: readonly AttestorKeyRow[],
  path: string,
  { kids, thumbprints }: Taken,
  problems: Problems,
): TokenKey[] {
  const keys: TokenKey[] = [];
  for (const [j, { kid, jwk }] of rows.entries()) {
    const at = `${path}/${j}`;
    try {
      const { jwk: read, publicKey } = readPublicJwk('ES256', jwk);
      claim(thumbprints, thumbprintOf(read), row.issuer, `${at}/jwk`, 'the key', problems);
      claim(kids, kid, row.issuer, `${at}/kid`, quoted(kid), problems);
      if (keys.some((known) => known.kid === kid)) problems.add(`${at}/kid`, `${quoted(kid)} is there twice`);
      keys.push(Object.freeze({ issuer: row.issuer, kid, publicKey }));
    } catch (thrown) {
      if (!(thrown instanceof MalformedBytes)) throw thrown;
      problems.add(`${at}/jwk`, quoted(thrown.message, 160));
    }
  }
  return keys;
}

function claim(
  holders: Map<string, string>,
  key: string,
  issuer: string,
  path: string,
  what: string,
  problems: Problems,
): void {
  const holder = holders.get(key) ?? issuer;
  if (holder !== issuer) problems.add(path, `${what} is also that of ${quoted(holder)}`);
  holders.set(key, issuer);
}
