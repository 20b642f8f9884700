// The `meta` part of an exchange's record: one line of JSON with what may be personal and, of a signed message, behind a
// line feed (which JSON escapes) the text that was signed, byte for byte.

/** In pieces, one behind the other. */
export const formatMeta = (told: object, base?: string): readonly string[] =>
  base === undefined ? [JSON.stringify(told)] : [JSON.stringify(told), '\n', base];

export interface MetaPart {
  /** JSON, unless the log's owner wrote something else. */
  readonly told: string;
  readonly base: string | undefined;
}

export function readMeta(part: Buffer): MetaPart {
  const end = part.indexOf(0x0a);
  return end < 0
    ? { told: part.toString('utf8'), base: undefined }
    : { told: part.toString('utf8', 0, end), base: part.toString('utf8', end + 1) };
}
