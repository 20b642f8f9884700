import type { GatewayConfig } from '../config/config.ts';
import { readAuthorities, readIdentity, readPrivateKey } from './key-files.ts';

/**
 * What the gateway shows and signs with, PEM: all that is read again when the operator says that files have changed. Plain
 * values, held by the main thread: a worker that begins later begins with what is in use, whatever the files say by then.
 */
export interface Credentials {
  readonly link: { readonly cert: string; readonly key: string; readonly ca: string };
  /** Undefined where there is no such listener. */
  readonly https: { readonly cert: string; readonly key: string } | undefined;
  /** Private key. */
  readonly message: string;
}

/** Of each: @throws ConfigError with the setting and the file, when it cannot be read, or key and certificate do not fit */
export const readLink = ({ link }: GatewayConfig): Credentials['link'] => ({
  ...identityOf('/link', link),
  ca: readAuthorities('/link/ca', link.ca).toString('latin1'),
});

export const readHttps = ({ listen: { https } }: GatewayConfig): Credentials['https'] =>
  https && identityOf('/listen/https', https);

export const readMessageKey = ({ keys: { message } }: GatewayConfig): Credentials['message'] =>
  readPrivateKey('/keys/message/file', message.file).export({ type: 'pkcs8', format: 'pem' }).toString();

/** All of them, for a start. @throws ConfigError */
export const readCredentials = (config: GatewayConfig): Credentials => ({
  link: readLink(config),
  https: readHttps(config),
  message: readMessageKey(config),
});

function identityOf(setting: string, files: { readonly cert: string; readonly key: string }) {
  const { cert, key } = readIdentity(setting, files);
  return { cert: cert.toString('latin1'), key: key.toString('latin1') };
}
