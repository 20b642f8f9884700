import { InvalidArgumentError } from 'commander';
import { BUNDLE_REFUSALS, type BundleRefusalCode } from '../../trust/bundle-refused.ts';

/** The report of a tool: for people, or whole for programs. */
export function printReport<T>(report: T, json: true | undefined, render: (report: T) => string): void {
  process.stdout.write(json === true ? `${JSON.stringify(report, null, 2)}\n` : render(report));
}

/** 0: as it should be. 1: it is not. 2 (usage, files that cannot be read) is the command line's. */
export const exitOf = (good: boolean): number => (good ? 0 : 1);

/** Why a bundle is not taken, for people: the code, what it means, and what was found. */
export function refusalText(code: BundleRefusalCode, problems: readonly string[]): string {
  const { en, zh } = BUNDLE_REFUSALS[code];
  return `${code}\n${[`${en} ${zh}`, ...problems].map((line) => `  ${line}\n`).join('')}`;
}

/** For options that count: `8`, not `0x8` or `8e0`. */
export function parseCount(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('Expected a whole number from 1.');
  return Number(text);
}
