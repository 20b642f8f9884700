/** How long the DER SEQUENCE at the start of the bytes says it is, header included; undefined when there is none. */
export function readDerLength(bytes: Uint8Array): number | undefined {
  const [tag, first, ...rest] = bytes.subarray(0, 4);
  if (tag !== 0x30 || first === undefined) return undefined;
  if (first < 0x80) return 2 + first;
  const count = first & 0x7f;
  if (count === 0 || count > 2 || rest.length < count) return undefined;
  return rest.slice(0, count).reduce((length, byte) => length * 256 + byte, 0) + 2 + count;
}
