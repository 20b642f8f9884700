import { isIP } from 'node:net';

export interface Address {
  /** Name or address, IPv6 without brackets: as `net.connect` takes it. */
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port` or `[IPv6]:port` in its one spelling; undefined when it is not that. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9a-f:]{2,45})\]|([a-z0-9.-]{1,253})):([1-9][0-9]{0,4})$/.exec(text);
  if (match === null) return undefined;
  const [, v6, name, digits] = match;
  const port = Number(digits);
  if (port > 65_535) return undefined;
  if (v6 !== undefined) return isIP(v6) === 6 ? { host: v6, port } : undefined;
  const host = name ?? '';
  // All digits and dots is meant as an address; 127.1 and 0127.0.0.1 are read differently by different libraries.
  if (/^[0-9.]+$/.test(host) && isIP(host) !== 4) return undefined;
  return host.split('.').every((label) => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(label))
    ? { host, port }
    : undefined;
}
