import { X509Certificate } from 'node:crypto';
import { resolve } from 'node:path';
import { base64url, fromBase64url, sha256 } from '../core/bytes.ts';
import { describe } from '../core/errors.ts';
import { inWords } from '../core/file-errors.ts';

/** The part of a file system that configuration needs; a test can bring its own. */
export interface FileDoor {
  /** @throws what the system throws when there is nothing at this path */
  stat(path: string): { readonly mode: number; readonly kind: 'file' | 'folder' | 'other' };
  read(path: string): Buffer;
}

/** Resolves and checks the files a configuration names. Reports problems and goes on, so that all are found at once. */
export class ConfigFiles {
  readonly #base: string;
  readonly #door: FileDoor;
  readonly #report: (setting: string, what: string) => void;

  constructor(base: string, door: FileDoor, report: (setting: string, what: string) => void) {
    this.#base = base;
    this.#door = door;
    this.#report = report;
  }

  absolute(path: string): string {
    return resolve(this.#base, path);
  }

  /** A file that must be there and readable by us. */
  readable(setting: string, path: string): string {
    this.#check(setting, path, 'file', 0);
    return this.absolute(path);
  }

  /** A file with a secret. Everybody on the machine could read or replace it with these bits set; a group may read. */
  secret(setting: string, path: string): string {
    this.#check(setting, path, 'file', 0o027);
    return this.absolute(path);
  }

  folder(setting: string, path: string): string {
    this.#check(setting, path, 'folder', 0);
    return this.absolute(path);
  }

  /** SHA-256 of a certificate: 64 hex digits (colons allowed, as `openssl x509 -fingerprint` prints them), base64url, or a PEM file. */
  fingerprint(setting: string, text: string): string {
    if (/^(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$/.test(text)) {
      return base64url(Buffer.from(text.replaceAll(':', ''), 'hex'));
    }
    if (text.length === 43 && fromBase64url(text)?.length === 32) return text;
    const pem = this.#check(setting, text, 'file', 0);
    if (pem === undefined) return '';
    try {
      const blocks = pem.toString('latin1').match(/-----BEGIN [^-]*CERTIFICATE-----/g)?.length ?? 0;
      if (blocks !== 1) throw new Error(`holds ${blocks} PEM certificates, not one`);
      return base64url(sha256(new X509Certificate(pem).raw));
    } catch (error) {
      this.#report(setting, `${this.absolute(text)}: ${describe(error)}`);
      return '';
    }
  }

  #check(setting: string, path: string, kind: 'file' | 'folder', forbiddenMode: number): Buffer | undefined {
    const full = this.absolute(path);
    try {
      const stat = this.#door.stat(full);
      if (stat.kind !== kind) {
        this.#report(setting, `${full} is not a ${kind}`);
        return undefined;
      }
      if ((stat.mode & forbiddenMode) !== 0) {
        const octal = (stat.mode & 0o777).toString(8).padStart(4, '0');
        this.#report(setting, `${full} is open to others (mode ${octal}): chmod 600`);
      }
      return kind === 'file' ? this.#door.read(full) : undefined;
    } catch (error) {
      this.#report(setting, `${full}: ${inWords(error)}`);
      return undefined;
    }
  }
}
