/**
 * Who can sign in at the sandbox: invented people of agency A. Nobody proves to be one of them at enrolment; a real
 * agency checks identity (IAL) before it hands out an authenticator.
 */
export const PEOPLE = [
  { subject: 'lin.meihua', name: 'Lin Mei-hua', zh: '林美華', role: 'caseworker, welfare' },
  { subject: 'chen.zhiming', name: 'Chen Zhi-ming', zh: '陳志明', role: 'household registration officer' },
  { subject: 'wang.yating', name: 'Wang Ya-ting', zh: '王雅婷', role: 'clerk on probation' },
] as const satisfies readonly Person[];

export interface Person {
  /** The `sub` of assertions; means somebody only together with the issuer. */
  readonly subject: string;
  readonly name: string;
  readonly zh: string;
  readonly role: string;
}

export const personOf = (subject: string): Person | undefined =>
  PEOPLE.find((person) => person.subject === subject);
