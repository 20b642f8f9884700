import type { OfferedService } from './instance.ts';
import { SCENARIOS } from './scenario-services.ts';

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

/** Those of the scenario policies, by the class of their agreement: policies/examples. */
const SCENARIO_TITLES: Readonly<Record<(typeof SCENARIOS)[number], OfferedService['title']>> = {
  corpus: { en: 'AI training corpus under licence terms', zh: '依授權條款提供之 AI 訓練語料' },
  household: { en: 'Household register, by policy', zh: '戶籍登記資料（依政策）' },
  messages: { en: 'Short messages from 111', zh: '111 政府專屬短碼簡訊' },
  tokens: { en: 'Token stream from a compute pool', zh: '算力池的符元串流' },
  weather: { en: 'Weather feed', zh: '氣象資料' },
};

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

/**
 * What the agreements leave open the policy closes: only the household register's names what it demands of user and machine,
 * so that a client is told what to come back with.
 */
export const scenarioServices = (url: string, attested: boolean): readonly OfferedService[] =>
  SCENARIOS.map((scenario) => ({
    code: scenario,
    url: `${url}/${scenario}`,
    title: SCENARIO_TITLES[scenario],
    class: scenario,
    ...(scenario === 'household' ? personAndMachine(attested) : {}),
  }));

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
      ...personAndMachine(attested),
    },
  ];
}

const personAndMachine = (attested: boolean): Pick<OfferedService, 'assertion' | 'device'> => ({
  assertion: { ial: 2, aal: 3, fal: 2, maxAgeSeconds: 900, proof: 'required' },
  device: attested ? { endpoint: MACHINE } : 'none',
});
