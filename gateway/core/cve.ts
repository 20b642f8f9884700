/** The id of a publicly known weakness, as a number: year · 10^8 + number. */
export type CveNumber = number;

const BASE = 1e8;

/** @returns undefined for what is not the id of a CVE, in the spelling of cve.org */
export function parseCve(text: string): CveNumber | undefined {
  const [, year, number] = /^CVE-((?:19|20)\d{2})-(\d{4,8})$/.exec(text) ?? [];
  // CVE-2024-00001234 would be a second spelling.
  if (year === undefined || number === undefined || (number.length > 4 && number.startsWith('0')))
    return undefined;
  return Number(year) * BASE + Number(number);
}

export const formatCve = (cve: CveNumber): string =>
  `CVE-${Math.floor(cve / BASE)}-${String(cve % BASE).padStart(4, '0')}`;
