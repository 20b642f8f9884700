/**
 * Data of the services that ask who the user is. All of it is invented: the identity numbers have a letter that no
 * county uses and fail their check digit, so that none can be anybody's.
 */
const CASES = [
  {
    case: 'T-2026-001',
    applicant: '張○○',
    kind: 'rent subsidy 租金補貼',
    status: 'under review 審查中',
    received: '2026-03-02',
  },
  {
    case: 'T-2026-002',
    applicant: '李○○',
    kind: 'social housing 社會住宅',
    status: 'granted 核准',
    received: '2026-03-05',
  },
  {
    case: 'T-2026-003',
    applicant: '周○○',
    kind: 'rent subsidy 租金補貼',
    status: 'documents missing 待補件',
    received: '2026-04-11',
  },
] as const;

const HOUSEHOLDS = [
  {
    household: 'H-63-000417',
    address: '虛構市測試區範例里一鄰假設路一號',
    head: '張大同',
    members: [
      { id: '?123456780', name: '張大同', relation: '戶長 head', born: '民國070年01月01日' },
      { id: '?223456780', name: '林小美', relation: '妻 wife', born: '民國072年02月02日' },
      { id: '?123456799', name: '張安安', relation: '長子 son', born: '民國105年03月03日' },
    ],
    changed: '民國114年05月20日',
  },
  {
    household: 'H-63-000418',
    address: '虛構市測試區範例里二鄰假設路二號',
    head: '周美玲',
    members: [{ id: '?223456798', name: '周美玲', relation: '戶長 head', born: '民國055年06月06日' }],
    changed: '民國110年11月01日',
  },
] as const;

/** @param rest path below the service @returns what to answer, or undefined where there is nothing */
export function lookUp(service: 'cases' | 'registry', rest: readonly string[]): unknown {
  const [first, second] = rest;
  if (service === 'cases') {
    return first === undefined || first === '' ? CASES : CASES.find((entry) => entry.case === first);
  }
  if (first !== 'households') return undefined;
  return second === undefined ? undefined : HOUSEHOLDS.find((entry) => entry.household === second);
}
