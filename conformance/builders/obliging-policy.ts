import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../../gateway/core/bytes.ts';
import type { Obligations } from '../../gateway/trust/obligations.ts';

/** What the changed bundle says of the class that agreements without one have. */
export interface GeneralClass {
  /** With every allow. */
  readonly obligations: Obligations;
  /** 100 denies everybody: no caller of the sandbox has that score. */
  readonly threshold?: number;
}

/** Writes a bundle that decides by the same rules with other data: what it demands of allowed exchanges. */
export function writeObligingBundle(
  from: string,
  to: string,
  { obligations, threshold = 10 }: GeneralClass,
): void {
  mkdirSync(to, { recursive: true });
  const read = (name: string) => JSON.parse(readFileSync(join(from, name), 'utf8')) as Record<string, object>; // our own files
  const data = read('data.json');
  const general = { threshold, obligations: { high: obligations, medium: obligations, low: obligations } };
  const text = JSON.stringify({ ...data, classes: { ...data['classes'], general } });
  const manifest = read('manifest.json');
  const files = { ...manifest['files'], 'data.json': sha256(text).toString('hex') };
  writeFileSync(join(to, 'data.json'), text);
  writeFileSync(join(to, 'policy.wasm'), readFileSync(join(from, 'policy.wasm')));
  writeFileSync(join(to, 'manifest.json'), JSON.stringify({ ...manifest, files }));
}
