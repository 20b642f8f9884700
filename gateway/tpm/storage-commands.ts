// Reading and changing what a TPM stores: PCRs and NV indices. TPM 2.0 Library Part 3, §22 and §31.
import { hashAlgorithm } from './algorithm.ts';
import { command, type Command, EMPTY_PASSWORD } from './command.ts';
import { u16, u32 } from './cursor.ts';
import { formatSelections, type PcrSelection, readSelections } from './pcr.ts';
import { HIERARCHY } from './public.ts';

const MAX_NV_BUFFER = 2048;

/** §22.4: at most 8 values come at once, those that the returned selection names. */
export const pcrRead = (
  selection: PcrSelection,
): Command<{ readonly selections: readonly PcrSelection[]; readonly values: readonly Buffer[] }> =>
  command({
    name: 'PCR_Read',
    code: 0x17e,
    parameters: [formatSelections([selection])],
    read: (r) => {
      r.u32('pcrUpdateCounter');
      const selections = readSelections(r);
      const count = r.u32('count');
      if (count > 8) throw r.malformed(`${count} digests`);
      return { selections, values: Array.from({ length: count }, () => Buffer.from(r.sized(64, 'digest'))) };
    },
  });

/** §22.2. */
export const pcrExtend = (
  pcr: number,
  digests: readonly { readonly hash: number; readonly digest: Uint8Array }[],
): Command<undefined> =>
  command({
    name: 'PCR_Extend',
    code: 0x182,
    handles: [pcr],
    auths: [EMPTY_PASSWORD],
    parameters: [
      u32(digests.length),
      ...digests.map(({ hash, digest }) => Buffer.concat([u16(hashAlgorithm(hash, 'extend').id), digest])),
    ],
    read: () => undefined,
  });

/** TPMS_NV_PUBLIC, as far as we need it. */
interface NvPublic {
  readonly attributes: number;
  readonly dataSize: number;
}

/** §31.6. */
export const nvReadPublic = (index: number): Command<NvPublic> =>
  command({
    name: 'NV_ReadPublic',
    code: 0x169,
    handles: [index],
    read: (r) => {
      const size = r.u16('nvPublic');
      r.u32('nvIndex');
      r.u16('nameAlg');
      const attributes = r.u32('attributes');
      const policy = r.sized(64, 'authPolicy');
      const dataSize = r.u16('dataSize');
      if (size !== 14 + policy.length) throw r.malformed('size of nvPublic');
      r.sized(66, 'nvName');
      return { attributes, dataSize };
    },
  });

/** §31.13, authorized by the owner hierarchy, which may read what holds EK certificates (EK profile §2.2.1.3). */
export const nvRead = (index: number, size: number, offset: number): Command<Buffer> =>
  command({
    name: 'NV_Read',
    code: 0x14e,
    handles: [HIERARCHY.owner, index],
    auths: [EMPTY_PASSWORD],
    parameters: [u16(size), u16(offset)],
    read: (r) => Buffer.from(r.sized(MAX_NV_BUFFER, 'data')),
  });
