import { readFileSync } from 'node:fs';
import type { KeyObject } from 'node:crypto';
import { naming } from '../core/file-errors.ts';
import { parsePrivateKey, parsePublicKey } from '../x509/key-file.ts';

/** @param setting that names the file: `/keys/log`. @throws ConfigError */
export const readPrivateKey = (setting: string, file: string): KeyObject =>
  naming(`${setting}: ${file}`, () => parsePrivateKey(readFileSync(file)));

/** As {@link readPrivateKey}. */
export const readPublicKey = (setting: string, file: string): KeyObject =>
  naming(`${setting}: ${file}`, () => parsePublicKey(readFileSync(file)));

/** As {@link readPublicKey}, in PEM: texts go to other threads. */
export const readPublicPem = (setting: string, file: string): string =>
  readPublicKey(setting, file).export({ type: 'spki', format: 'pem' }).toString();
