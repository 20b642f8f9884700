import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import type { SandboxReady } from '../gateway/sandbox/sandbox.ts';

/**
 * The package as an agency installs it: packed, unpacked in an empty folder beside nothing but its declared
 * dependencies, and run. The tree's own copies of those stand in for the network.
 */
const root = join(import.meta.dirname, '..');
const modules = join(root, 'node_modules');

interface Manifest {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}
// The shape of package.json; npm has read it before us.
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;

// Without tap's loader in NODE_OPTIONS: see harness/plain-node.ts.
function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync('env', ['-u', 'NODE_OPTIONS', command, ...args], {
    cwd,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** @returns the unpacked package in a folder of its own, its dependencies beside it */
function install(dir: string): string {
  // A copy, because packing builds `dist` and others may be working in the tree.
  const tree = join(dir, 'tree');
  mkdirSync(tree);
  for (const name of readdirSync(root)) {
    if (/^(?:node_modules|dist|conformance|\.git|\.tap|\.sandbox)$/.test(name)) continue;
    cpSync(join(root, name), join(tree, name), { recursive: true });
  }
  symlinkSync(modules, join(tree, 'node_modules'));
  run('npm', ['pack', '--pack-destination', dir], tree);
  const installed = join(dir, 'app', 'node_modules', 'troad');
  mkdirSync(installed, { recursive: true });
  const tarball = join(dir, `troad-${manifest.version}.tgz`);
  run('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'], dir);
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
    if (!existsSync(join(modules, name))) continue; // optional: for another system
    const link = join(dir, 'app', 'node_modules', name);
    mkdirSync(join(link, '..'), { recursive: true });
    symlinkSync(join(modules, name), link);
  }
  return installed;
}

/** A Node on the PATH that is too old for the gateway, as many machines have one. */
function oldNode(): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((dir) => join(dir, 'node'))
    .find((node) => {
      if (!existsSync(node)) return false;
      const major = Number(/^v(\d+)/.exec(spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout)?.[1]);
      return major >= 18 && major < 24;
    });
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('no standard output');
  const [line]: unknown[] = await once(createInterface({ input: child.stdout }), 'line', {
    signal: AbortSignal.timeout(120_000),
  });
  return String(line);
}

void t.test('the package', async (t) => {
  const dir = t.testdir();
  const installed = install(dir);
  const cli = join(installed, 'dist', 'gateway', 'cli.js');

  await t.test('holds what it needs and nothing else', async (t) => {
    const files = readdirSync(installed, { recursive: true, encoding: 'utf8' });
    t.strictSame(
      files.filter((file) => /\.tsx?$|\.test\.|\.types\.|-fixture\.|(?:^|\/)\.env|\.key$/.test(file)),
      [],
    );
    for (const name of ['LICENSE', 'README.md', 'README.zh-TW.md', 'SECURITY.md', 'CHANGELOG.md']) {
      t.ok(files.includes(name), name);
    }
  });

  await t.test('carries a request in its sandbox', async (t) => {
    const child = spawn(
      'env',
      [
        '-u',
        'NODE_OPTIONS',
        process.execPath,
        cli,
        'sandbox',
        '--dir',
        join(dir, 'x'),
        '--no-devices',
        '--json',
      ],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    const exited = once(child, 'exit');
    try {
      // Our own program's one line.
      const { consumer } = JSON.parse(await firstLine(child)) as SandboxReady;
      const answer = await fetch(`${consumer.url}/r1/TW/GOV/B07/housing/echo/installed`, {
        headers: { 'X-Road-Client': 'TW/GOV/A11/welfare' },
      });
      t.equal(answer.status, 200);
      t.equal(answer.headers.get('x-road-service'), 'TW/GOV/B07/housing/echo');
      t.match(await answer.json(), { path: '/echo/installed' });
    } finally {
      child.kill('SIGTERM');
      await exited;
    }
    t.equal(child.exitCode, 0, 'ends in order');
  });

  const node = oldNode();
  const bundled = `node-${process.platform}-${process.arch}`;
  const skip =
    node === undefined
      ? 'no Node of 18 to 23 on the PATH'
      : existsSync(join(modules, bundled))
        ? false
        : `${bundled} is not installed`;
  await t.test('finds its own Node where an older one starts it', { skip }, async (t) => {
    if (node === undefined) throw new Error('skipped above');
    t.equal(run(node, [cli, '--version'], dir), `${manifest.version}\n`);

    const child = spawn(
      'env',
      ['-u', 'NODE_OPTIONS', node, cli, 'sandbox', '--dir', join(dir, 'old'), '--no-devices', '--json'],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    const exited = once(child, 'exit');
    // Our own program's one line.
    const { consumer, provider } = JSON.parse(await firstLine(child)) as SandboxReady;
    child.kill('SIGTERM');
    await exited;
    t.equal(child.exitCode, 0, 'a signal reaches the gateway behind it');
    for (const { pid } of [consumer, provider]) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  });
});
