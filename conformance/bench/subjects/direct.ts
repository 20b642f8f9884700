import { UNREAD_FIELDS } from '../user-load.ts';
import type { SubjectKind } from './subject.ts';

/** No gateway at all: what client and service alone can do on this machine. */
export const direct: SubjectKind = {
  name: 'direct',
  missing: () => undefined,
  start: (lab) =>
    Promise.resolve({
      name: 'direct',
      gateways: [],
      userTarget: () => Promise.resolve({ url: `${lab.backend.benchUrl}/echo`, headers: UNREAD_FIELDS }),
      target: (door, path) => ({
        url: `${door === 'bench' ? lab.backend.benchUrl : lab.backend.sinkUrl}${path}`,
        headers: {},
      }),
      context: {},
      stop: () => Promise.resolve(),
      audit: () => Promise.resolve([]),
    }),
};
