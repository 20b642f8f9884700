import { ConfigError, quoted } from '../../core/errors.ts';
import { generateKeyPair } from '../../../pki/keys.ts';
import type { GatewayRow, RegistryDocument } from '../../registry/document.ts';
import { signRegistry } from '../../registry/load.ts';
import { canonicalJson, isObject } from '../../trust/canonical.ts';

/** Lists of a registry, and the members that name a row of it. */
const KINDS = {
  members: ['id'],
  gateways: ['name'],
  subsystems: ['id'],
  services: ['id'],
  agreements: ['id'],
  identityProviders: ['issuer', 'member'],
  attestors: ['issuer'],
} as const;

export type Kind = keyof typeof KINDS;
export const KIND_NAMES = Object.keys(KINDS) as Kind[]; // the keys of the table above

export type Row = Readonly<Record<string, unknown>>;

/** What the next version will say. Times and number come with the signature. */
export type Draft = { readonly format: 'troad-registry-v1'; readonly instance: string } & {
  readonly linkAnchors: readonly string[];
} & Readonly<Record<Kind, readonly Row[]>>;

const DAY_MS = 86_400_000;

export const emptyDraft = (instance: string, linkAnchors: readonly string[]): Draft => ({
  format: 'troad-registry-v1',
  instance,
  members: [],
  gateways: [],
  subsystems: [],
  services: [],
  agreements: [],
  linkAnchors,
  identityProviders: [],
  attestors: [],
});

/** A text file that people may edit, too. @throws ConfigError */
export function readDraft(value: unknown): Draft {
  const lists = [...KIND_NAMES, 'linkAnchors'];
  if (!isObject(value) || !lists.every((name) => Array.isArray(value[name])))
    throw new ConfigError([`expected an object with the lists ${lists.join(', ')}`]);
  return value as unknown as Draft; // rows are looked at by whoever reads a registry, strictly
}

/** The draft as a document. */
export const documentOf = (
  draft: Draft,
  facts: Pick<RegistryDocument, 'version' | 'issuedAt' | 'expiresAt'>,
): RegistryDocument => ({ ...draft, ...facts }) as unknown as RegistryDocument; // read strictly before it is signed

/** What gateways would refuse is refused now. @throws ConfigError every problem, by path */
export async function requireGood(draft: Draft): Promise<void> {
  // Signing is what looks at a document as a gateway does; with this key nobody believes it.
  const { privateKey } = generateKeyPair('ed25519');
  await signRegistry(documentOf(draft, { version: 1, issuedAt: 0, expiresAt: DAY_MS }), [privateKey]);
}

/** How a row is called: `gw.a11.example`; with two members that name it, both. */
export const nameOf = (kind: Kind, row: Row): string =>
  KINDS[kind].map((member) => String(row[member])).join(' ');

/** @param content a row, or a list of rows. @throws ConfigError */
export function withRows(draft: Draft, kind: Kind, content: unknown, replace: boolean): Draft {
  const rows: readonly unknown[] = Array.isArray(content) ? content : [content];
  let list = draft[kind];
  for (const row of rows) {
    if (!isObject(row) || KINDS[kind].some((member) => typeof row[member] !== 'string'))
      throw new ConfigError([`expected an object with ${KINDS[kind].join(' and ')}, or a list of such`]);
    const name = nameOf(kind, row);
    const known = list.some((other) => nameOf(kind, other) === name);
    if (known !== replace)
      throw new ConfigError([
        known
          ? `${kind}: ${quoted(name)} is there already: --replace puts this in its place  已存在，--replace 可取代`
          : `${kind}: ${quoted(name)} is not there: leave --replace away  不存在，請勿使用 --replace`,
      ]);
    list = replace ? list.map((other) => (nameOf(kind, other) === name ? row : other)) : [...list, row];
  }
  return { ...draft, [kind]: list };
}

/** @throws ConfigError */
export function withoutRow(draft: Draft, kind: Kind, name: string): Draft {
  const list = draft[kind].filter((row) => nameOf(kind, row) !== name);
  if (list.length === draft[kind].length) throw notThere(draft, kind, name);
  return { ...draft, [kind]: list };
}

/**
 * A gateway that nobody may believe any more: no key for the link, and its message keys are revoked. Its row stays, and
 * its log keys: auditors have to check what it signed before.
 * @throws ConfigError
 */
export function withRevoked(draft: Draft, name: string): Draft {
  const row = gatewayNamed(draft, name);
  const messageKeys = row.messageKeys.map((key) => ({ ...key, status: 'revoked' as const }));
  const revoked: Row = { ...row, link: [], messageKeys };
  return withRows(draft, 'gateways', revoked, true);
}

/** @throws ConfigError */
export function gatewayNamed(draft: Draft, name: string): GatewayRow {
  const row = draft.gateways.find((each) => nameOf('gateways', each) === name);
  if (row === undefined) throw notThere(draft, 'gateways', name);
  return row as unknown as GatewayRow; // the draft was good when it was written
}

function notThere(draft: Draft, kind: Kind, name: string): ConfigError {
  const names = draft[kind].map((row) => nameOf(kind, row));
  const known = names.slice(0, 20).join(', ') || 'none';
  return new ConfigError([`${kind}: there is no ${quoted(name)}; there are: ${known}  查無此項`]);
}

/** What a new version changes, a line each: `+` is new, `-` is gone, `~` is another. */
export function changesOf(before: Draft | undefined, after: Draft): string[] {
  const lines: string[] = [];
  for (const kind of KIND_NAMES) {
    const texts = (draft: Draft | undefined): ReadonlyMap<string, string> =>
      new Map((draft?.[kind] ?? []).map((row) => [nameOf(kind, row), canonicalJson(row)]));
    const [old, now] = [texts(before), texts(after)];
    for (const [name, text] of now) {
      if (!old.has(name)) lines.push(`+ ${kind} ${name}`);
      else if (old.get(name) !== text) lines.push(`~ ${kind} ${name}`);
    }
    for (const name of old.keys()) if (!now.has(name)) lines.push(`- ${kind} ${name}`);
  }
  if (before !== undefined && JSON.stringify(before.linkAnchors) !== JSON.stringify(after.linkAnchors))
    lines.push('~ linkAnchors');
  return lines;
}
