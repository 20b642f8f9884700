// Makes the working tree runnable: packages, the plugin set of the test runner, a Node that is new enough.
//   node .ci/setup.mjs                    quick and offline when nothing is missing
//   node .ci/setup.mjs --debian bench     also the Debian packages of one purpose (needs root), or says what to install
//   node .ci/setup.mjs --debian-wished a,b      the same, but what cannot be installed is only said
// Runs before anything is installed, on whatever Node starts npm (20 or later): no dependencies, no TypeScript.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);
const env = { ...process.env, PATH: at('node_modules', '.bin') + delimiter + (process.env.PATH ?? '') };

/** Debian packages by purpose: what each brings, as the command that proves it is there. */
const DEBIAN = {
  tools: { curl: 'curl', openssl: 'openssl' },
  bench: { nginx: 'nginx-light', wrk: 'wrk' },
  peers: { haproxy: 'haproxy', caddy: 'caddy' },
  // Cross-checks also use tpm2-tools where somebody has installed them; they pull udev, so nobody is made to.
  tpm: { swtpm: 'swtpm', swtpm_setup: 'swtpm-tools' },
  policy: { go: 'golang-go' },
  browser: { chromium: 'chromium' },
  replicas: { 'redis-server': 'redis-server' },
};

class SetupError extends Error {}

const say = (text) => process.stderr.write(`setup: ${text}\n`);
const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

/** Runs a command quietly; its output is shown only when it fails. */
function run(what, command, args, hint) {
  const started = Date.now();
  say(`${what} …`);
  // No stdin: an apt or npm that asks a question must fail, not wait.
  const done = spawnSync(command, args, {
    cwd: root,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (done.status !== 0) {
    const output = `${done.stdout ?? ''}${done.stderr ?? ''}`.trim();
    const why = done.error ? done.error.message : (done.signal ?? `exit status ${done.status}`);
    throw new SetupError(`\`${[command, ...args].join(' ')}\` failed (${why})\n${output}\n${hint}`);
  }
  say(`${what}: done in ${seconds(started)}`);
}

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));
const found = (command) =>
  (env.PATH ?? '').split(delimiter).some((dir) => dir && existsSync(join(dir, command)));

/**
 * npm writes node_modules/.package-lock.json as its last act, so this file says what lies there, and its absence that
 * an installation was cut short. Comparing it with package-lock.json also accepts a developer's own `npm install`.
 * @returns what has to be installed, or undefined
 */
function whatIsMissing() {
  const wanted = readJson(at('package-lock.json')).packages;
  // The lock file repeats package.json's lists; when they differ somebody edited one and not the other.
  const { dependencies, devDependencies, optionalDependencies } = readJson(at('package.json'));
  for (const [name, version] of Object.entries({
    ...dependencies,
    ...devDependencies,
    ...optionalDependencies,
  })) {
    const locked = wanted[`node_modules/${name}`]?.version;
    if (locked !== version) {
      throw new SetupError(
        `package.json asks for ${name} ${version}, package-lock.json has ${locked ?? 'none'}: run \`npm install\``,
      );
    }
  }
  const hidden = at('node_modules', '.package-lock.json');
  if (!existsSync(hidden)) return 'nothing is installed';
  const there = readJson(hidden).packages;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue;
    const have = there[path];
    // Optional packages are those of other systems and what only they need; ours name this system and must be there.
    if (have === undefined && entry.optional && !isForThisSystem(entry)) continue;
    if (have?.version !== entry.version || have?.integrity !== entry.integrity) {
      return `${path} ${entry.version} is not installed`;
    }
  }
  return undefined;
}

/** True when a lock file entry names this operating system and processor. */
function isForThisSystem({ os, cpu, libc }) {
  if (!os?.includes(process.platform) || !cpu?.includes(process.arch)) return false;
  const glibc = process.report.getReport().header.glibcVersionRuntime !== undefined;
  return libc === undefined || libc.includes(glibc ? 'glibc' : 'musl');
}

/**
 * `npm install`, not `npm ci`: the lock file lists only the systems we run on (Linux x64, arm64), and `npm ci` insists on
 * an entry for every system the linter's native parts are built for. Versions and hashes come from the lock file, which
 * is put back as it was.
 */
function installPackages() {
  const missing = whatIsMissing();
  if (missing === undefined) return;
  say(missing);
  const lock = readFileSync(at('package-lock.json'));
  try {
    run(
      'npm install',
      'npm',
      ['install', '--no-audit', '--no-fund'],
      'It needs the npm registry, this once.',
    );
  } finally {
    if (!readFileSync(at('package-lock.json')).equals(lock)) writeFileSync(at('package-lock.json'), lock);
  }
  const still = whatIsMissing();
  if (still !== undefined)
    throw new SetupError(`after npm install, ${still}: remove node_modules and try again`);
}

/** tap compiles its plugin set into node_modules; a fresh install brings the default one back, which cannot run here. */
function buildPlugins() {
  const stamp = at('node_modules', '@tapjs', 'test', '.plugins-built');
  const hash = createHash('sha256');
  for (const file of ['.taprc', 'package-lock.json']) hash.update(readFileSync(at(file)));
  const wanted = hash.digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  run('tap build', 'tap', ['build'], 'Remove node_modules and try again.');
  writeFileSync(stamp, wanted);
}

function requireNode() {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(readJson(at('package.json')).engines.node);
  const probe = spawnSync('node', ['--version'], { env, encoding: 'utf8' });
  const [, hasMajor, hasMinor] = /^v(\d+)\.(\d+)/.exec(probe.stdout ?? '') ?? [undefined, 0, 0];
  if (+hasMajor > +major || (+hasMajor === +major && +hasMinor >= +minor)) return;
  throw new SetupError(
    `Node ${major}.${minor} or later is needed, \`node\` on the PATH is ${probe.stdout?.trim() || 'missing'}.\n` +
      `On Linux x64 and arm64 it comes with \`npm ci\` (unless optional packages are left out); ` +
      `on ${process.platform} ${process.arch} install Node 24 LTS and put it first on the PATH.`,
  );
}

/** The comma-separated purposes behind an option. */
function purposesOf(option) {
  const index = process.argv.indexOf(option);
  return index === -1 ? [] : (process.argv[index + 1] ?? '').split(',');
}

function installDebian(purpose) {
  const wanted = DEBIAN[purpose];
  if (wanted === undefined) {
    throw new SetupError(
      `--debian ${purpose ?? ''}: unknown purpose, use one of ${Object.keys(DEBIAN).join(', ')}`,
    );
  }
  env.PATH += `${delimiter}/usr/sbin${delimiter}/sbin`; // nginx stands there, and users' PATHs often leave it out
  const missing = Object.entries(wanted).flatMap(([command, name]) => (found(command) ? [] : [name]));
  if (missing.length === 0) return;
  const command = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (!found('apt-get'))
    throw new SetupError(`For ${purpose}, install: ${missing.join(', ')} (names of Debian packages)`);
  if (process.getuid?.() !== 0) throw new SetupError(`For ${purpose}, run as root: ${command}`);
  env.DEBIAN_FRONTEND = 'noninteractive';
  run('apt-get update', 'apt-get', ['update', '-q'], 'Check the Debian package sources of this machine.');
  const [program, ...args] = command.split(' ');
  run(`apt-get install ${missing.join(' ')}`, program, args, `Try it by hand: ${command}`);
}

/** Two `npm` commands at once would install over each other: the second waits for the first. */
function whileLocked(work) {
  const lock = join(
    tmpdir(),
    `troad-setup-${createHash('sha256').update(root).digest('hex').slice(0, 16)}.lock`,
  );
  for (let waited = false; ; waited = true) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (!isHeld(lock)) {
      rmSync(lock, { force: true }); // its owner was killed
    } else {
      if (!waited) say('waiting for another setup of this folder');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 250);
    }
  }
  try {
    work();
  } finally {
    rmSync(lock, { force: true });
  }
}

function isHeld(lock) {
  try {
    const pid = Number(readFileSync(lock, 'utf8'));
    if (pid === 0) return true; // made this instant, number not yet written
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

try {
  whileLocked(() => {
    installPackages();
    buildPlugins();
  });
  requireNode();
  for (const purpose of purposesOf('--debian')) installDebian(purpose);
  for (const purpose of purposesOf('--debian-wished')) {
    try {
      installDebian(purpose);
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      // What needs it is skipped, and says so; nothing else depends on it.
      process.stderr.write(`setup: ${error.message}\n`);
    }
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`setup: ${error.message}\n`);
  process.exitCode = 1;
}
