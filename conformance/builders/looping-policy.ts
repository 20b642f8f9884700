import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../../gateway/core/bytes.ts';

/** A policy input longer than this never comes back. An ordinary one has some 2,000 bytes. */
const LOOPS_ABOVE = 6000;

const u32 = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...u32(Math.floor(value / 0x80))];
const s32 = (value: number): number[] =>
  value >= -64 && value < 64 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...s32(value >> 7)];

/** Reads and writes the parts of a module that are touched; all else goes through as it is. */
class Reader {
  readonly bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  byte(): number {
    return this.bytes[this.at++] ?? 0;
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  take(length: number): Uint8Array {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  get rest(): Uint8Array {
    return this.bytes.subarray(this.at);
  }
}

/**
 * Writes a bundle that decides like the one it is made of, but loops for ever on a long input (a long path makes one):
 * `opa_eval` is exported from a new function that looks at the input's length and then calls the old one.
 */
export function writeLoopingBundle(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  const wasm = loopOnLongInput(readFileSync(join(from, 'policy.wasm')));
  const manifest = JSON.parse(readFileSync(join(from, 'manifest.json'), 'utf8')) as { files: object }; // our own file
  const files = { ...manifest.files, 'policy.wasm': sha256(wasm).toString('hex') };
  writeFileSync(join(to, 'policy.wasm'), wasm);
  writeFileSync(join(to, 'data.json'), readFileSync(join(from, 'data.json')));
  writeFileSync(join(to, 'manifest.json'), JSON.stringify({ ...manifest, files }));
}

function loopOnLongInput(wasm: Uint8Array): Uint8Array {
  const sections = sectionsOf(wasm);
  const content = (id: number): Uint8Array => {
    const found = sections.find((section) => section.id === id);
    if (found === undefined) throw new Error(`no section ${id}`);
    return found.content;
  };
  const imported = importedFunctions(content(2));
  const types = functionTypes(content(3));
  const old = exportedFunction(content(7), 'opa_eval');
  const type = types[old - imported] ?? 0;
  const made = imported + types.length;
  // local 4 is the input's length (ABI 1.2: opa_eval(_, entrypoint, data, input, input_len, heap, format)).
  const body = [
    0, 0x20, 4, 0x41, ...s32(LOOPS_ABOVE), 0x4b, 0x04, 0x40, 0x03, 0x40, 0x0c, 0, 0x0b, 0x0b,
    ...[0, 1, 2, 3, 4, 5, 6].flatMap((local) => [0x20, local]), 0x10, ...u32(old), 0x0b,
  ]; // prettier-ignore
  const changed = new Map<number, Uint8Array>([
    [3, appended(content(3), u32(type))],
    [7, reexported(content(7), 'opa_eval', made)],
    [10, appended(content(10), [...u32(body.length), ...body])],
  ]);
  const out = sections.map(({ id, content: same }) => {
    const bytes = changed.get(id) ?? same;
    return Buffer.concat([Buffer.from([id, ...u32(bytes.length)]), bytes]);
  });
  return Buffer.concat([wasm.subarray(0, 8), ...out]);
}

function sectionsOf(wasm: Uint8Array): { id: number; content: Uint8Array }[] {
  const reader = new Reader(wasm);
  reader.take(8);
  const sections = [];
  while (reader.at < wasm.length) {
    const id = reader.byte();
    sections.push({ id, content: reader.take(reader.u32()) });
  }
  return sections;
}

function importedFunctions(section: Uint8Array): number {
  const reader = new Reader(section);
  let functions = 0;
  for (let left = reader.u32(); left > 0; left -= 1) {
    reader.take(reader.u32());
    reader.take(reader.u32());
    const kind = reader.byte();
    if (kind === 0) {
      functions += 1;
      reader.u32();
    } else if (kind === 2) {
      const hasMaximum = reader.byte() === 1;
      reader.u32();
      if (hasMaximum) reader.u32();
    } else throw new Error(`import of kind ${kind}`);
  }
  return functions;
}

function functionTypes(section: Uint8Array): number[] {
  const reader = new Reader(section);
  return Array.from({ length: reader.u32() }, () => reader.u32());
}

interface Exported {
  readonly name: Buffer;
  readonly kind: number;
  readonly index: number;
}

function exportsOf(section: Uint8Array): Exported[] {
  const reader = new Reader(section);
  return Array.from({ length: reader.u32() }, () => ({
    name: Buffer.from(reader.take(reader.u32())),
    kind: reader.byte(),
    index: reader.u32(),
  }));
}

function exportedFunction(section: Uint8Array, name: string): number {
  const found = exportsOf(section).find((each) => each.name.toString() === name);
  if (found === undefined) throw new Error(`no export ${name}`);
  return found.index;
}

function reexported(section: Uint8Array, as: string, to: number): Uint8Array {
  const all = exportsOf(section);
  return Buffer.from([
    ...u32(all.length),
    ...all.flatMap(({ name, kind, index }) => [
      ...u32(name.length),
      ...name,
      kind,
      ...u32(name.toString() === as ? to : index),
    ]),
  ]);
}

/** A vector with one more element at its end. */
function appended(section: Uint8Array, element: readonly number[]): Uint8Array {
  const reader = new Reader(section);
  const count = reader.u32();
  return Buffer.concat([Buffer.from(u32(count + 1)), reader.rest, Buffer.from(element)]);
}
