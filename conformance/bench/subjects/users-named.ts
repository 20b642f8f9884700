import { findEpochs } from '../../../gateway/audit/folder.ts';
import { forEachRecord, readCore } from '../../../gateway/audit/records.ts';
import { nodeStorage } from '../../../gateway/evidence/node-storage.ts';

/** How many requests in this log came from a user whom its gateway had verified, at the machine that the assertion names. */
export async function usersNamed(log: string): Promise<number> {
  const storage = nodeStorage();
  let named = 0;
  for (const epoch of await findEpochs(storage, log))
    await forEachRecord(storage, epoch, ({ bytes }) => {
      const record = readCore(bytes);
      if (record.k === 'req.final' && record.usr?.by === 'certificate') named += 1;
    });
  return named;
}
