import { createPublicKey, type KeyObject } from 'node:crypto';
import { fromBase64, fromBase64url } from '../core/bytes.ts';
import type { EpochMs } from '../core/clock.ts';
import { ConfigError, describe, quoted } from '../core/errors.ts';
import { parseMemberId, type MemberId } from '../core/ids.ts';
import { isAlgorithmName, requireKey, type AlgorithmName } from '../httpsig/algorithm.ts';
import { parseVerifierKey, type NoteVerifier } from '../tlog/note.ts';
import { signersOf, type Signers } from '../trust/release.ts';

/** What an auditor takes as given, in one file: whose log and message keys are whose. Everything else is checked. */
export interface Trust {
  readonly instance: string;
  readonly gateways: ReadonlyMap<string, TrustedGateway>;
  /** By origin. */
  readonly logs: ReadonlyMap<string, TrustedLog>;
  /** By key id. */
  readonly messageKeys: ReadonlyMap<string, TrustedKey>;
}

export interface TrustedGateway {
  readonly name: string;
  readonly member: MemberId;
  /** Who released its policies, and when. Empty: the file does not say. */
  readonly policy: readonly TrustedSigners[];
}

export interface TrustedSigners extends Signers {
  readonly notBefore: EpochMs;
  readonly notAfter: EpochMs;
}

export interface TrustedLog {
  readonly origin: string;
  readonly gateway: TrustedGateway;
  readonly verifier: NoteVerifier;
}

export interface TrustedKey {
  readonly kid: string;
  readonly gateway: TrustedGateway;
  readonly alg: AlgorithmName;
  readonly publicKey: KeyObject;
  readonly notBefore: EpochMs;
  readonly notAfter: EpochMs;
}

/**
 * Reads a trust file strictly: an unknown member may be a restriction that this version does not know.
 * @throws ConfigError every problem at once, by path
 */
export function parseTrustFile(text: string): Trust {
  const problems: string[] = [];
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError([`is not JSON: ${describe(cause)}  不是 JSON`]);
  }
  const gateways = new Map<string, TrustedGateway>();
  const logs = new Map<string, TrustedLog>();
  const messageKeys = new Map<string, TrustedKey>();
  const reader = new Reader(problems);
  const file = reader.object(root, '', ['instance', 'gateways']);
  const instance = reader.string(file['instance'], 'instance');
  for (const [row, at] of reader.rows(file['gateways'], 'gateways', [
    'name',
    'member',
    'logs',
    'messageKeys',
    'link',
    'policy',
  ])) {
    const name = reader.string(row['name'], `${at}.name`);
    const member = parseMemberId(reader.string(row['member'], `${at}.member`));
    if (member === undefined) problems.push(`${at}.member: not instance/class/member`);
    const policy = row['policy'] === undefined ? [] : readSigners(reader, row['policy'], `${at}.policy`);
    const gateway: TrustedGateway = { name, member: member ?? ('' as MemberId), policy }; // a problem was noted: never returned
    reader.unique(gateways, name, gateway, `${at}.name`);
    for (const [log, logAt] of reader.rows(row['logs'], `${at}.logs`, ['origin', 'vkey'])) {
      const origin = reader.string(log['origin'], `${logAt}.origin`);
      const verifier = reader.made(
        () => parseVerifierKey(reader.string(log['vkey'], `${logAt}.vkey`)),
        `${logAt}.vkey`,
      );
      if (verifier === undefined) continue;
      if (verifier.name !== origin) problems.push(`${logAt}.vkey: is the key of ${quoted(verifier.name)}`);
      reader.unique(logs, origin, { origin, gateway, verifier }, `${logAt}.origin`);
    }
    const keyMembers = ['kid', 'alg', 'spki', 'notBefore', 'notAfter'];
    for (const [key, keyAt] of reader.rows(row['messageKeys'], `${at}.messageKeys`, keyMembers)) {
      const trusted = readKey(reader, key, keyAt, gateway);
      if (trusted !== undefined) reader.unique(messageKeys, trusted.kid, trusted, `${keyAt}.kid`);
    }
    for (const [link, linkAt] of reader.rows(row['link'], `${at}.link`, ['spki'])) {
      const digest = fromBase64url(reader.string(link['spki'], `${linkAt}.spki`));
      if (digest?.length !== 32) problems.push(`${linkAt}.spki: not a SHA-256 digest in base64url`);
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return { instance, gateways, logs, messageKeys };
}

function readKey(reader: Reader, key: Row, at: string, gateway: TrustedGateway): TrustedKey | undefined {
  const alg = reader.string(key['alg'], `${at}.alg`);
  const notBefore = reader.time(key['notBefore'], `${at}.notBefore`);
  const notAfter = reader.time(key['notAfter'], `${at}.notAfter`);
  const kid = reader.string(key['kid'], `${at}.kid`);
  if (!isAlgorithmName(alg)) {
    reader.problems.push(`${at}.alg: ${quoted(alg)} is not known`);
    return undefined;
  }
  const der = fromBase64(reader.string(key['spki'], `${at}.spki`));
  const publicKey = reader.made(() => {
    const made = createPublicKey({ key: der ?? Buffer.alloc(0), format: 'der', type: 'spki' });
    requireKey(alg, made);
    return made;
  }, `${at}.spki`);
  return publicKey === undefined ? undefined : { kid, gateway, alg, publicKey, notBefore, notAfter };
}

function readSigners(reader: Reader, rows: unknown, at: string): TrustedSigners[] {
  const members = ['signers', 'threshold', 'notBefore', 'notAfter'];
  return reader.rows(rows, at, members).flatMap(([row, rowAt]) => {
    const notBefore = reader.time(row['notBefore'], `${rowAt}.notBefore`);
    const notAfter = reader.time(row['notAfter'], `${rowAt}.notAfter`);
    const { signers, threshold } = row;
    const made = reader.made(() => {
      if (!Array.isArray(signers) || signers.length === 0) throw new Error('signers is no list of keys');
      if (typeof threshold !== 'number' || !Number.isSafeInteger(threshold)) throw new Error('no threshold');
      const pems = signers.map((spki) => {
        const der = typeof spki === 'string' ? fromBase64(spki) : undefined;
        const key = createPublicKey({ key: der ?? Buffer.alloc(0), format: 'der', type: 'spki' });
        return key.export({ type: 'spki', format: 'pem' }).toString();
      });
      return signersOf(pems, threshold);
    }, rowAt);
    return made === undefined ? [] : [{ ...made, notBefore, notAfter }];
  });
}

type Row = Readonly<Record<string, unknown>>;

/** Reads JSON values and notes what is wrong with them, so that one run tells all problems. */
class Reader {
  readonly problems: string[];

  constructor(problems: string[]) {
    this.problems = problems;
  }

  object(value: unknown, at: string, members: readonly string[]): Row {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.problems.push(`${at || 'trust file'}: not an object`);
      return {};
    }
    for (const name of Object.keys(value)) {
      if (!members.includes(name)) this.problems.push(`${at}.${quoted(name)}: not a member of the format`);
    }
    return value as Row; // any object can be read by name
  }

  rows(value: unknown, at: string, members: readonly string[]): (readonly [Row, string])[] {
    if (!Array.isArray(value)) {
      this.problems.push(`${at}: not a list`);
      return [];
    }
    return value.map((row: unknown, i) => [this.object(row, `${at}[${i}]`, members), `${at}[${i}]`] as const);
  }

  string(value: unknown, at: string): string {
    if (typeof value === 'string' && value !== '') return value;
    this.problems.push(`${at}: not a text`);
    return '';
  }

  time(value: unknown, at: string): EpochMs {
    if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
    this.problems.push(`${at}: not a time in milliseconds`);
    return 0;
  }

  made<T>(make: () => T, at: string): T | undefined {
    try {
      return make();
    } catch (cause) {
      this.problems.push(`${at}: ${describe(cause)}`);
      return undefined;
    }
  }

  unique<T>(map: Map<string, T>, key: string, value: T, at: string): void {
    if (map.has(key)) this.problems.push(`${at}: ${quoted(key)} is there twice`);
    map.set(key, value);
  }
}
