// C2SP signed-note v1.0.0 with Ed25519 (signature type 0x01): the format of Go's golang.org/x/mod/sumdb/note.
import { createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import { base64, equalBytes, fromBase64, sha256, utf8 } from '../core/bytes.ts';
import { MalformedBytes, quoted } from '../core/errors.ts';

const ED25519 = 0x01;
const KEY_ID_BYTES = 4;
const SIGNATURE_BYTES = 64;
/** RFC 8410 §4: the DER around the 32 bytes of an Ed25519 public key. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** A note is a few lines; whoever sends more wants us to work. */
const MAX_NOTE_BYTES = 65_536;
const MAX_SIGNATURES = 100;

/** A key that signs notes under a name. */
export interface NoteSigner {
  readonly name: string;
  /** Verifier key, to give to whoever checks. */
  readonly vkey: string;
  sign(text: string): string;
}

/** A key that notes are checked with. */
export interface NoteVerifier {
  readonly name: string;
  readonly vkey: string;
  readonly keyId: Buffer;
  readonly publicKey: KeyObject;
}

/** A note that at least one of the given keys has signed. */
export interface OpenedNote {
  readonly text: string;
  /** The keys whose signatures were checked, in the order of the note. */
  readonly signedBy: readonly NoteVerifier[];
}

/** @throws TypeError the key is not Ed25519; MalformedBytes the name cannot stand in a note */
export function noteSigner(name: string, privateKey: KeyObject): NoteSigner {
  const { raw, keyId } = identify(name, createPublicKey(privateKey));
  return {
    name,
    vkey: vkeyOf(name, keyId, raw),
    sign: (text) =>
      `— ${name} ${Buffer.concat([keyId, sign(null, utf8(text), privateKey)]).toString('base64')}\n`,
  };
}

/** Reads `<name>+<key id in hex>+<base64 of type and key>`. @throws MalformedBytes */
export function parseVerifierKey(vkey: string): NoteVerifier {
  const [, name = '', , key = ''] = /^([^+]*)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(vkey) ?? [];
  const bytes = fromBase64(key);
  if (bytes?.length !== 33 || bytes[0] !== ED25519)
    throw new MalformedBytes(`not a verifier key: ${quoted(vkey)}`);
  const spki = Buffer.concat([SPKI_PREFIX, bytes.subarray(1)]);
  const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  const { raw, keyId } = identify(name, publicKey);
  // The id is a function of name and key: a mistyped one would make every signature "unknown".
  if (vkeyOf(name, keyId, raw) !== vkey) throw new MalformedBytes(`wrong key id in ${quoted(vkey)}`);
  return { name, vkey, keyId, publicKey };
}

export const verifierKeyOf = (name: string, publicKey: KeyObject): string => {
  const { raw, keyId } = identify(name, publicKey);
  return vkeyOf(name, keyId, raw);
};

/** The text with the signature lines below. @throws MalformedBytes the text cannot be a note's */
export function signNote(text: string, signers: readonly NoteSigner[]): string {
  requireNoteText(text);
  return `${text}\n${signers.map((signer) => signer.sign(text)).join('')}`;
}

/**
 * Checks a note. Lines of keys we do not know are passed over, as the format demands; a wrong line of a known key
 * refuses the note, and so does a second line of the same key.
 * @throws MalformedBytes not a note, or no known key has signed it
 */
export function openNote(note: string, verifiers: readonly NoteVerifier[]): OpenedNote {
  if (note.length > MAX_NOTE_BYTES) throw new MalformedBytes(`note of ${note.length} characters`);
  // The last blank line: a note's text may hold others.
  const split = note.lastIndexOf('\n\n');
  const text = note.slice(0, split + 1);
  requireNoteText(text);
  const lines = note.slice(split + 2).split('\n');
  if (lines.pop() !== '') throw new MalformedBytes('note does not end in a newline');
  if (lines.length === 0 || lines.length > MAX_SIGNATURES) {
    throw new MalformedBytes(`note with ${lines.length} signatures`);
  }
  const signedBy: NoteVerifier[] = [];
  for (const line of lines) {
    const { name, keyId, signature } = parseSignatureLine(line);
    const verifier = verifiers.find((known) => known.name === name && equalBytes(known.keyId, keyId));
    if (verifier === undefined) continue;
    if (signedBy.includes(verifier)) throw new MalformedBytes(`two signatures of ${quoted(name)}`);
    const good =
      signature.length === SIGNATURE_BYTES && verify(null, utf8(text), verifier.publicKey, signature);
    if (!good) throw new MalformedBytes(`wrong signature of ${quoted(name)}`);
    signedBy.push(verifier);
  }
  if (signedBy.length === 0) throw new MalformedBytes('note is not signed by a known key');
  return { text, signedBy };
}

function parseSignatureLine(line: string): { name: string; keyId: Buffer; signature: Buffer } {
  const [, name = '', value = ''] = /^— (\S+) (\S+)$/u.exec(line) ?? [];
  const bytes = fromBase64(value);
  if (!isKeyName(name) || bytes === undefined || bytes.length <= KEY_ID_BYTES) {
    throw new MalformedBytes(`not a signature line: ${quoted(line)}`);
  }
  return { name, keyId: bytes.subarray(0, KEY_ID_BYTES), signature: bytes.subarray(KEY_ID_BYTES) };
}

/** No plus sign and no white space of any script: both separate things in vkeys and signature lines. */
const isKeyName = (name: string): boolean => name !== '' && name.isWellFormed() && !/[+\s\u0085]/u.test(name);

function requireNoteText(text: string): void {
  if (!text.endsWith('\n')) throw new MalformedBytes('note text does not end in a newline');
  if (!text.isWellFormed() || /[\u0000-\u0009\u000b-\u001f\ufffd]/.test(text)) {
    throw new MalformedBytes('note text has control characters or broken UTF-8');
  }
}

function identify(name: string, publicKey: KeyObject): { raw: Buffer; keyId: Buffer } {
  if (!isKeyName(name)) throw new MalformedBytes(`not a key name: ${quoted(name)}`);
  if (publicKey.asymmetricKeyType !== 'ed25519') throw new TypeError('notes are signed with Ed25519');
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const raw = Buffer.concat([Uint8Array.of(ED25519), spki.subarray(SPKI_PREFIX.length)]);
  return { raw, keyId: sha256(`${name}\n`, raw).subarray(0, KEY_ID_BYTES) };
}

const vkeyOf = (name: string, keyId: Buffer, raw: Buffer): string =>
  `${name}+${keyId.toString('hex')}+${base64(raw)}`;
