import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { bundleDir } from '../../sandbox/bundle.ts';

/** The compiler that bundles are built with: `policies/go.mod` pins it for those who build the gateway's own. */
export const OPA_VERSION = '1.22.2';

/** The compiler was not found, or did not accept what it was given. */
export class OpaFailed extends Error {
  override readonly name = 'OpaFailed';
  /** What it printed, apart from its complaints. */
  readonly stdout: string;

  constructor(message: string, stdout = '') {
    super(message);
    this.stdout = stdout;
  }
}

interface RunOptions {
  readonly input?: string;
  readonly timeout?: number;
}

function run(dir: string, program: string, args: readonly string[], options: RunOptions = {}) {
  return spawnSync(program, args, {
    cwd: dir,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    ...options,
    // A PATH without Go's newer toolchain must say so here, not fetch one in the middle of a check.
    env: { ...process.env, GOTOOLCHAIN: process.env['GOTOOLCHAIN'] ?? 'local' },
  });
}

type Candidate = { readonly program: string } | { readonly why: string };

/** The Go tool that a folder's `go.mod` names, once compiled: `go` would look at all its sources again for every command. */
function goTool(folder: string, timeout: number): Candidate {
  const where = (): string => run(folder, 'go', ['tool', '-n', 'opa']).stdout?.trim() ?? '';
  let path = where();
  if (!existsSync(path)) {
    const { status, stderr, error } = run(folder, 'go', ['tool', 'opa', 'version'], { timeout });
    if (status !== 0) return { why: error?.message ?? stderr.trim() };
    path = where();
  }
  return existsSync(path) ? { program: path } : { why: 'go does not tell where it is' };
}

export interface OpaWish {
  /** A bundle's bytes depend on it; where nothing is compiled, any will do. */
  readonly version?: string;
  /** Milliseconds; the Go tool is compiled first where nobody has used it yet. */
  readonly timeout?: number;
}

/** The `opa` program in one version, in the folder of some policy sources. */
export class Opa {
  readonly version: string;
  readonly #dir: string;
  readonly #program: string;

  private constructor(dir: string, program: string, version: string) {
    this.#dir = dir;
    this.#program = program;
    this.version = version;
  }

  /**
   * `opa` on the PATH if it is of the version, else the Go tool of the folder's `go.mod`, else that of the policy that comes
   * with the program.
   * @param dir folder of the sources; paths are relative to it
   * @throws OpaFailed saying what to install
   */
  static find(dir: string, { version, timeout = 900_000 }: OpaWish): Opa {
    const seen: string[] = [];
    const folders = new Set([dir, dirname(bundleDir())]);
    const candidates: readonly (readonly [name: string, find: () => Candidate])[] = [
      ['opa', () => ({ program: 'opa' })],
      ...[...folders].map((folder) => [`go tool opa in ${folder}`, () => goTool(folder, timeout)] as const),
    ];
    for (const [name, find] of candidates) {
      const candidate = find();
      if ('program' in candidate) {
        const { stdout, stderr, error } = run(dir, candidate.program, ['version'], { timeout });
        const found = /^Version: (\S+)$/m.exec(stdout ?? '')?.[1];
        if (found !== undefined && found === (version ?? found))
          return new Opa(dir, candidate.program, found);
        const why = found === undefined ? (error?.message ?? stderr.trim()) : `is version ${found}`;
        seen.push(`  ${name}: ${why}`);
      } else seen.push(`  ${name}: ${candidate.why}`);
    }
    const wanted = version === undefined ? 'opa' : `opa ${version}`;
    throw new OpaFailed(
      [
        `${wanted} was not found:`,
        ...seen,
        `Put the ${wanted} program on the PATH (https://www.openpolicyagent.org/docs/#running-opa), or install the Go`,
        'version named in policies/go.mod; `go tool opa` then compiles it from the module cache or a module proxy.',
      ].join('\n'),
    );
  }

  /** The same program in another folder. */
  in(dir: string): Opa {
    return new Opa(dir, this.#program, this.version);
  }

  /**
   * Runs one command in the folder.
   * @returns standard output
   * @throws OpaFailed with everything the program printed
   */
  run(args: readonly string[], input?: string): string {
    const { status, stdout, stderr, error } = run(
      this.#dir,
      this.#program,
      args,
      input === undefined ? {} : { input },
    );
    if (status === 0) return stdout;
    throw new OpaFailed(
      [`opa ${args.join(' ')}`, error?.message ?? '', stdout ?? '', stderr ?? '']
        .filter(Boolean)
        .join('\n')
        .trim(),
      stdout ?? '',
    );
  }

  /**
   * Compiles to WebAssembly.
   * @param options further ones of `opa build`
   * @throws OpaFailed
   */
  compile(entrypoint: string, sources: readonly string[], options: readonly string[] = []): Buffer {
    const scratch = mkdtempSync(join(tmpdir(), 'troad-opa-'));
    try {
      const archive = join(scratch, 'bundle.tar.gz');
      this.run(['build', '-t', 'wasm', '-e', entrypoint, '-o', archive, ...options, ...sources]);
      return tarMember(gunzipSync(readFileSync(archive)), '/policy.wasm');
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
}

/** One member of a tar archive (POSIX ustar: name at 0, size in octal at 124, content from 512 on). */
function tarMember(archive: Buffer, wanted: string): Buffer {
  for (let at = 0; at + 512 <= archive.length;) {
    const size = Number.parseInt(archive.toString('latin1', at + 124, at + 135), 8) || 0;
    if (archive.toString('latin1', at, archive.indexOf(0, at)) === wanted) {
      return archive.subarray(at + 512, at + 512 + size);
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  throw new OpaFailed(`opa built no ${wanted}`);
}
