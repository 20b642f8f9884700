import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../../gateway/core/bytes.ts';

/** Writes a bundle that decides alike and is another one: the text of a reason has `mark` in front. */
export function writeOtherBundle(from: string, to: string, mark: string): void {
  mkdirSync(to, { recursive: true });
  const read = (name: string) =>
    JSON.parse(readFileSync(join(from, name), 'utf8')) as Record<string, unknown>; // our own files
  const data = read('data.json');
  const reasons = Object.entries(data['reasons'] ?? {}).map(([code, texts]: [string, { en: string }], i) => [
    code,
    i === 0 ? { ...texts, en: `${mark} ${texts.en}` } : texts,
  ]);
  const text = JSON.stringify({ ...data, reasons: Object.fromEntries(reasons) as unknown });
  const manifest = read('manifest.json');
  const files = { ...(manifest['files'] as object), 'data.json': sha256(text).toString('hex') };
  writeFileSync(join(to, 'data.json'), text);
  writeFileSync(join(to, 'policy.wasm'), readFileSync(join(from, 'policy.wasm')));
  writeFileSync(join(to, 'manifest.json'), JSON.stringify({ ...manifest, files }));
}
