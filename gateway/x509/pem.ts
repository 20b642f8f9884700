import { MalformedBytes } from '../core/errors.ts';

export type PemLabel = 'CERTIFICATE' | 'CERTIFICATE REQUEST' | 'X509 CRL';

/** RFC 7468 text of one DER value, with a line end at the end. */
export function formatPem(label: PemLabel, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/**
 * Every block of one label in a PEM file, as DER. Text between blocks is allowed (RFC 7468 §2); a block of another
 * label is not: a private key in a file of certificates is a mistake worth stopping for.
 * @throws MalformedBytes
 */
export function parsePem(label: PemLabel, text: string): Buffer[] {
  const blocks: Buffer[] = [];
  let open: { label: string; lines: string[] } | undefined;
  for (const line of text.split(/\r?\n/)) {
    const marker = /^-----(BEGIN|END) ([A-Z0-9 ]+)-----\s*$/.exec(line);
    if (marker === null) {
      open?.lines.push(line.trim());
      continue;
    }
    const [, kind, name] = marker;
    if (kind === 'BEGIN') {
      if (open !== undefined) throw new MalformedBytes('PEM: a block begins inside another');
      if (name !== label) throw new MalformedBytes(`PEM: expected ${label}, found another kind of block`);
      open = { label, lines: [] };
    } else {
      if (open === undefined || name !== open.label) throw new MalformedBytes('PEM: END without its BEGIN');
      const base64 = open.lines.join('');
      const der = Buffer.from(base64, 'base64');
      if (der.length === 0 || der.toString('base64') !== base64) throw new MalformedBytes('PEM: not base64');
      blocks.push(der);
      open = undefined;
    }
  }
  if (open !== undefined) throw new MalformedBytes('PEM: a block has no end');
  return blocks;
}
