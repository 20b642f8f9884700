/** What all subjects share in one run: a folder in memory, random bytes, certificates, the service behind them. */
import { createHash, randomFillSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { startBackend, type Backend } from './backend.ts';
import { makeCertificates, type Certificates } from './certificates.ts';
import { IN_MEMORY, remove, temporaryFolder } from './leftovers.ts';

/** Bytes of the small file whose first byte is timed. */
export const PART_BYTES = 8 << 20;

/** Random bytes, in memory and as a file: no transfer can look right by accident. */
export interface Payload {
  readonly bytes: Buffer;
  readonly sha256: string;
  /** `payload` and its first bytes, `part`. */
  readonly folder: string;
}

export interface Lab {
  readonly dir: string;
  readonly payload: Payload;
  readonly certificates: Certificates;
  readonly backend: Backend;
  close(): Promise<void>;
}

/** @param payloadBytes length of the bulk payload; it is held three times in memory: here, in the file, in the sink */
export async function openLab(payloadBytes: number): Promise<Lab> {
  const dir = temporaryFolder(IN_MEMORY);
  try {
    await chmod(dir, 0o755); // a server that gives up root must still reach its files
    const bytes = randomFillSync(Buffer.allocUnsafeSlow(payloadBytes));
    writeFileSync(join(dir, 'payload'), bytes);
    writeFileSync(join(dir, 'part'), bytes.subarray(0, PART_BYTES));
    const payload = { bytes, sha256: createHash('sha256').update(bytes).digest('hex'), folder: dir };
    const certificates = await makeCertificates(dir);
    const backend = await startBackend(dir);
    return {
      dir,
      payload,
      certificates,
      backend,
      async close() {
        await backend.stop();
        remove(dir);
      },
    };
  } catch (cause) {
    remove(dir);
    throw cause;
  }
}
