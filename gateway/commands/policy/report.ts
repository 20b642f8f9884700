/** The report of a tool: for people, or whole for programs. */
export function printReport<T>(report: T, json: true | undefined, render: (report: T) => string): void {
  process.stdout.write(json === true ? `${JSON.stringify(report, null, 2)}\n` : render(report));
}

/** 0: as it should be. 1: it is not. 2 (usage, files that cannot be read) is the command line's. */
export const exitOf = (good: boolean): number => (good ? 0 : 1);
