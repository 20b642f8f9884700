/**
 * Who can sign in at the sandbox: invented people of agency A. Nobody proves to be one of them at enrolment; a real
 * agency checks identity (IAL) before it hands out an authenticator.
 */
export const PEOPLE = [
  {
    login: 'lin.meihua',
    subject: 'u-5f0c9a1e7b2d4c38',
    name: 'Lin Mei-hua',
    zh: '林美華',
    role: 'caseworker, welfare',
  },
  {
    login: 'chen.zhiming',
    subject: 'u-c3d8177f40ae9b62',
    name: 'Chen Zhi-ming',
    zh: '陳志明',
    role: 'household registration officer',
  },
  {
    login: 'wang.yating',
    subject: 'u-08b6e52dd19f73a4',
    name: 'Wang Ya-ting',
    zh: '王雅婷',
    role: 'clerk on probation',
  },
] as const satisfies readonly Person[];

export interface Person {
  /** What the person types, and scripts say. */
  readonly login: string;
  /** The `sub` of assertions: no name, since it travels. Means somebody only together with the issuer. */
  readonly subject: string;
  readonly name: string;
  readonly zh: string;
  readonly role: string;
}

/** @param id login or subject */
export const personOf = (id: string): Person | undefined =>
  PEOPLE.find(({ login, subject }) => login === id || subject === id);
