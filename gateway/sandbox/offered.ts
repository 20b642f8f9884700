import type { OfferedService } from './instance.ts';

/** A service that whoever starts the sandbox adds. */
export interface ExtraService {
  readonly code: string;
  readonly url: string;
}

const TITLES = {
  echo: { en: 'Says what it received', zh: '回應所收到的內容' },
  files: { en: 'Large files, both ways', zh: '大型檔案雙向傳輸' },
  events: { en: 'Server-sent events', zh: '伺服器推送事件' },
  cases: { en: 'Housing applications', zh: '住宅補貼案件' },
  registry: { en: 'Household register', zh: '戶籍登記資料' },
  attested: { en: 'All of the above, for attested machines', zh: '以上各項服務，僅限經鑑別之設備' },
} as const;

/** @param attested whether the machines have TPMs */
export const offeredServices = (
  url: string,
  attested: boolean,
  extra: readonly ExtraService[],
): readonly OfferedService[] => [
  { code: 'echo', url: `${url}/echo`, title: TITLES.echo },
  { code: 'files', url: `${url}/files`, title: TITLES.files },
  // Reading is all that was agreed: a POST shows what a refusal looks like.
  { code: 'events', url: `${url}/events`, title: TITLES.events, methods: ['GET', 'HEAD'] },
  // The same echo behind `delivery: verified`: it sees nothing of a request before all of it was checked.
  { code: 'verified', url: `${url}/echo`, title: TITLES.echo, delivery: 'verified' },
  ...demandingServices(url, attested),
  ...extra.map(({ code, url: where }) => ({ code, url: where, title: { en: code, zh: code } })),
];

/** Weak, because the clock of a TPM that lost its power is not to be trusted for a while after. */
const MACHINE = { tpm: 'warning', health: 'warning', residency: 'bound' } as const;

/** Services whose agreements demand to know the user, the machine, or both. Without TPMs no machine is demanded. */
function demandingServices(url: string, attested: boolean): OfferedService[] {
  const both = attested ? ({ endpoint: MACHINE, node: MACHINE } as const) : 'none';
  return [
    ...(attested ? [{ code: 'attested', url, title: TITLES.attested, device: both } as const] : []),
    {
      code: 'cases',
      url: `${url}/cases`,
      title: TITLES.cases,
      assertion: { ial: 2, aal: 2, fal: 1, maxAgeSeconds: 8 * 3600, proof: 'optional' },
      device: attested ? { node: MACHINE } : 'none',
    },
    {
      code: 'registry',
      url: `${url}/registry`,
      title: TITLES.registry,
      methods: ['GET', 'HEAD'],
      assertion: { ial: 2, aal: 3, fal: 2, maxAgeSeconds: 900, proof: 'required' },
      device: both,
    },
  ];
}
