// Compares the tables of docs/dependencies.md with package.json: same packages, same exact versions.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** @returns what differs, one line each */
export function compareDependencies(packageJson: string, markdown: string): string[] {
  // The shape of package.json; a list that is missing is an empty one.
  const manifest = JSON.parse(packageJson) as Record<string, Record<string, string> | undefined>;
  const named = new Map(
    ['dependencies', 'optionalDependencies', 'devDependencies'].flatMap((list) =>
      Object.entries(manifest[list] ?? {}),
    ),
  );
  const told = new Map(
    [...markdown.matchAll(/^\| (\S+) \| (\d[^ |]*) \|/gm)].map(([, name = '', version = '']) => [
      name,
      version,
    ]),
  );
  const problems: string[] = [];
  for (const [name, version] of named) {
    if (!/^\d+\.\d+\.\d+$/.test(version))
      problems.push(`package.json: ${name} ${version} is not an exact version`);
    const shown = told.get(name);
    if (shown === undefined) problems.push(`docs/dependencies.md: ${name} is missing`);
    else if (shown !== version) problems.push(`docs/dependencies.md: ${name} is ${version}, not ${shown}`);
  }
  for (const name of told.keys()) {
    if (!named.has(name)) problems.push(`docs/dependencies.md: ${name} is not in package.json`);
  }
  return problems;
}

if (import.meta.main) {
  const root = join(import.meta.dirname, '..');
  const read = (name: string): string => readFileSync(join(root, name), 'utf8');
  const problems = compareDependencies(read('package.json'), read('docs/dependencies.md'));
  for (const problem of problems) console.log(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
