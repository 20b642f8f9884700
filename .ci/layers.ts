// Checks what may import what (ARCHITECTURE.md): levels, doors of packages and of Node modules, cycles between files.
//   node .ci/layers.ts [folder]    all TypeScript files of the working tree, or those below a folder
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { importsOf } from './imports.ts';

/** Imports point to a lower number. Areas with one number do not import each other. */
const LEVELS: Readonly<Record<string, number>> = {
  'gateway/core': 0,
  'gateway/http1': 1,
  'gateway/httpsig': 1,
  'gateway/tlog': 1,
  'gateway/tpm': 1,
  'gateway/x509': 1,
  'gateway/identity': 2,
  'gateway/device': 2,
  'gateway/message': 2,
  'gateway/trust': 3,
  'gateway/evidence': 4,
  'gateway/link': 4,
  'gateway/service': 4,
  'gateway/registry': 4,
  'gateway/replicas': 4,
  'gateway/exchange': 5,
  'gateway/server': 6,
  'gateway/config': 6,
  'gateway/telemetry': 6,
  'gateway/node': 7,
  'gateway/node.ts': 8,
  'gateway/commands': 9,
  'gateway/cli.ts': 10,
};

const LOWER = Object.keys(LEVELS).filter((area) => (LEVELS[area] ?? 0) <= 3);
/** Areas beside the levels: the complete list of what they may import. Commands may import them. */
const BESIDE: Readonly<Record<string, readonly string[]>> = {
  // The auditor trusts neither side: nothing of the running path may be needed to check what it left behind.
  'gateway/audit': [...LOWER, 'gateway/evidence', 'gateway/registry'],
  // Policy authors' tools read logs as the auditor does.
  'gateway/author': [...LOWER, 'gateway/evidence', 'gateway/audit'],
  'gateway/attest': [...LOWER, 'gateway/registry', 'pki'],
  'gateway/sandbox': [
    ...LOWER,
    'gateway/attest',
    'gateway/evidence',
    'gateway/registry',
    'gateway/config',
    'gateway/node.ts',
    'pki',
  ],
  pki: ['gateway/core', 'gateway/x509'],
};
/** Code that is not shipped and may import everything. */
const FREE = ['conformance', 'policies', '.ci'];

/** One door a package: nobody else imports it, so that it can be replaced, and its traps are handled once. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  '@peculiar/x509': ['gateway/x509/'],
  '@simplewebauthn/server': ['gateway/sandbox/idp/'],
  commander: ['gateway/cli.ts', 'gateway/commands/'],
  jose: ['gateway/registry/', 'gateway/identity/'],
  'oidc-provider': ['gateway/sandbox/idp/'],
  pino: ['gateway/telemetry/'],
  'reflect-metadata': ['gateway/x509/'],
  'structured-headers': ['gateway/httpsig/'],
  yaml: ['gateway/config/'],
  zod: ['gateway/config/'],
};
/** For tests and what is not shipped only. */
const TEST_PACKAGES = new Set([
  '@open-policy-agent/opa-wasm',
  'tap',
  'fast-check',
  'http-message-sig',
  'playwright-core',
]);

const NODE_DOORS: Readonly<Record<string, readonly string[]>> = {
  'node:http2': ['gateway/link/', 'gateway/server/'],
  'node:tls': [
    'gateway/link/',
    'gateway/server/',
    'gateway/service/',
    'gateway/replicas/',
    'gateway/sandbox/',
    'gateway/attest/',
    'gateway/commands/',
  ],
  'node:http': ['gateway/link/', 'gateway/server/', 'gateway/sandbox/', 'gateway/attest/'],
  'node:https': ['gateway/link/', 'gateway/server/', 'gateway/sandbox/', 'gateway/attest/'],
  'node:child_process': ['gateway/cli.ts', 'gateway/commands/', 'gateway/sandbox/'],
};
/** Levels 0 to 3 are pure: what they need of the outside is an argument. */
const IMPURE =
  /^node:(?:fs|http|http2|https|tls|net|dgram|dns|child_process|cluster|worker_threads|os|process|timers|readline|sqlite|repl)(?:\/|$)/;

export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly what: string;
}

/** The area a file belongs to: a folder or file of the table, or its first folder. */
function areaOf(file: string): string {
  const [first = '', second = ''] = file.split('/');
  return first === 'gateway' ? `${first}/${second}` : first;
}

/** `x-fixture.ts` is what several tests beside it share. */
const isTest = (file: string): boolean => /(?:\.test|\.types|-fixture)\.ts$/.test(file);
const isFree = (file: string): boolean => FREE.includes(areaOf(file)) || isTest(file);

/** Why `from` may not import the file `to`, or undefined. Tests may look sideways and up; shipped code may not. */
function refusedFile(from: string, to: string): string | undefined {
  if (isFree(from)) return undefined;
  if (isTest(to)) return `imports a test, ${to}`;
  if (isFree(to)) return `imports ${to}, which is not shipped`;
  const [mine, theirs] = [areaOf(from), areaOf(to)];
  if (mine === theirs) return undefined;
  const beside = BESIDE[mine];
  if (beside !== undefined) return beside.includes(theirs) ? undefined : `${mine} may not import ${theirs}`;
  const level = LEVELS[mine];
  if (level === undefined) return `${mine} is not in the table of levels`;
  if (BESIDE[theirs] !== undefined) {
    return level >= 8 ? undefined : `${mine} (level ${level}) may not import ${theirs}: only commands do`;
  }
  const below = LEVELS[theirs];
  if (below === undefined) return `${theirs} is not in the table of levels`;
  if (below === level) return `${mine} and ${theirs} are of one level, ${level}`;
  return below < level
    ? undefined
    : `${mine} (level ${level}) may not import up, ${theirs} is level ${below}`;
}

function refusedPackage(from: string, specifier: string): string | undefined {
  if (isFree(from)) return undefined;
  const area = areaOf(from);
  if (specifier.startsWith('node:')) {
    const pure = LOWER.includes(area);
    if (pure && IMPURE.test(specifier))
      return `${area} is pure (levels 0 to 3) and may not import ${specifier}`;
    const doors = NODE_DOORS[specifier];
    return doors === undefined || behindDoor(from, doors)
      ? undefined
      : `${specifier} is imported in ${doors.join(', ')} only`;
  }
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
  if (TEST_PACKAGES.has(name)) return `${name} is for tests`;
  const doors = PACKAGES[name];
  if (doors === undefined) return `${name} has no door in the table`;
  return behindDoor(from, doors) ? undefined : `${name} is imported in ${doors.join(', ')} only`;
}

const behindDoor = (file: string, doors: readonly string[]): boolean =>
  doors.some((door) => (door.endsWith('/') ? file.startsWith(door) : file === door));

/**
 * @param root folder of the tree
 * @param files paths relative to it, with forward slashes
 */
export function checkLayers(root: string, files: readonly string[]): Violation[] {
  const violations: Violation[] = [];
  const graph = new Map<string, string[]>();
  for (const file of files) {
    const targets: string[] = [];
    graph.set(file, targets);
    for (const { specifier, line } of importsOf(readFileSync(join(root, file), 'utf8'))) {
      const report = (what: string | undefined): void => {
        if (what !== undefined) violations.push({ file, line, what });
      };
      if (specifier === undefined) {
        if (!isFree(file)) report('imports something computed at run time');
      } else if (specifier.startsWith('.')) {
        const target = normalize(join(dirname(file), specifier));
        if (!existsSync(join(root, target))) report(`${specifier} does not exist`);
        else report(refusedFile(file, target));
        targets.push(target);
      } else {
        report(refusedPackage(file, specifier));
      }
    }
  }
  for (const cycle of cyclesOf(graph)) {
    violations.push({ file: cycle[0] ?? '', line: 1, what: `cycle: ${[...cycle, cycle[0]].join(' → ')}` });
  }
  return violations;
}

/** One cycle for every file from which a walk comes back to a file it is still in. */
function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const walk = (file: string): void => {
    const at = path.indexOf(file);
    if (at !== -1) cycles.push(path.slice(at));
    if (at !== -1 || done.has(file)) return;
    path.push(file);
    for (const target of graph.get(file) ?? []) walk(target);
    path.pop();
    done.add(file);
  };
  for (const file of graph.keys()) walk(file);
  return cycles;
}

/** Files of the working tree, new ones included. */
export function treeFiles(root: string, pattern: string): string[] {
  const list = execFileSync(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', pattern],
    {
      cwd: root,
      encoding: 'utf8',
    },
  );
  return [...new Set(list.split('\0'))]
    .filter((file) => file !== '' && existsSync(join(root, file)))
    .toSorted();
}

if (import.meta.main) {
  const root = join(import.meta.dirname, '..');
  const folder = process.argv[2];
  const files =
    folder === undefined
      ? treeFiles(root, '*.ts')
      : globSync('**/*.ts', { cwd: folder }).map((file) => normalize(file));
  const violations = checkLayers(folder ?? root, files);
  for (const { file, line, what } of violations) {
    console.log(`${relative(process.cwd(), join(folder ?? root, file))}:${line}: ${what}`);
  }
  console.log(`${files.length} files, ${violations.length} violations`);
  process.exitCode = violations.length === 0 ? 0 : 1;
}
