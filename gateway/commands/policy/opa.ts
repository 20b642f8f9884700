import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** The compiler that bundles are built with: `policies/go.mod` pins it for those who build the gateway's own. */
export const OPA_VERSION = '1.22.2';

/** The compiler was not found, or did not accept what it was given. */
export class OpaFailed extends Error {
  override readonly name = 'OpaFailed';
}

type Command = readonly [program: string, ...args: string[]];

interface RunOptions {
  readonly input?: string;
  readonly timeout?: number;
}

function run(dir: string, [program, ...first]: Command, args: readonly string[], options: RunOptions = {}) {
  return spawnSync(program, [...first, ...args], {
    cwd: dir,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    ...options,
    // A PATH without Go's newer toolchain must say so here, not fetch one in the middle of a check.
    env: { ...process.env, GOTOOLCHAIN: process.env['GOTOOLCHAIN'] ?? 'local' },
  });
}

/** Where the Go tool lies once it is compiled: `go` would look at all its sources again for every command. */
function compiled(dir: string, command: Command): Command {
  if (command[0] !== 'go') return command;
  const path = run(dir, ['go', 'tool', '-n', 'opa'], []).stdout.trim();
  return existsSync(path) ? [path] : command;
}

/** The `opa` program in one version, in the folder of some policy sources. */
export class Opa {
  readonly version: string;
  readonly #dir: string;
  readonly #command: Command;

  private constructor(dir: string, command: Command, version: string) {
    this.#dir = dir;
    this.#command = command;
    this.version = version;
  }

  /**
   * `opa` on the PATH if it is the pinned version, else the Go tool.
   * @param dir folder of the sources; paths are relative to it
   * @param version the bundle's bytes depend on it, so no other will do
   * @param timeout milliseconds; the Go tool is compiled first where nobody has used it yet
   * @throws OpaFailed saying what to install
   */
  static find(dir: string, version: string, timeout = 900_000): Opa {
    const seen: string[] = [];
    const tool: Command = ['go', 'tool', 'opa'];
    const candidates: readonly (() => Command)[] = [
      () => ['opa'],
      () => {
        // The program itself, where Go tells it: asking Go for it costs more than most of the commands.
        const { status, stdout } = run(dir, ['go', 'tool', '-n', 'opa'], [], { timeout });
        const path = stdout?.trim() ?? '';
        return status === 0 && path !== '' ? [path] : tool;
      },
    ];
    for (const candidate of candidates) {
      const command = candidate();
      const { status, stdout, stderr, error } = run(dir, command, ['version'], { timeout });
      const found = /^Version: (\S+)$/m.exec(stdout ?? '')?.[1];
      if (status === 0 && found === version) return new Opa(dir, compiled(dir, command), version);
      const why = found === undefined ? (error?.message ?? stderr.trim()) : `is version ${found}`;
      seen.push(`  ${command.join(' ')}: ${why}`);
    }
    throw new OpaFailed(
      [
        `opa ${version} was not found:`,
        ...seen,
        `Put the opa ${version} program on the PATH (https://www.openpolicyagent.org/docs/#running-opa), or install the Go`,
        'version named in policies/go.mod; `go tool opa` then compiles it from the module cache or a module proxy.',
      ].join('\n'),
    );
  }

  /** The same program in another folder. */
  in(dir: string): Opa {
    return new Opa(dir, this.#command, this.version);
  }

  /**
   * Runs one command in the folder.
   * @returns standard output
   * @throws OpaFailed with everything the program printed
   */
  run(args: readonly string[], input?: string): string {
    const { status, stdout, stderr, error } = run(
      this.#dir,
      this.#command,
      args,
      input === undefined ? {} : { input },
    );
    if (status === 0) return stdout;
    throw new OpaFailed(
      [`opa ${args.join(' ')}`, error?.message ?? '', stdout ?? '', stderr ?? '']
        .filter(Boolean)
        .join('\n')
        .trim(),
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
