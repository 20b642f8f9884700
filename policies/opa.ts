import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Folder of the policy sources; every path below is relative to it. */
export const POLICIES = dirname(fileURLToPath(import.meta.url));

/** What can be evaluated or compiled: the sources, and the data under the name the policy knows it by. */
export const SOURCES = ['troad', 'reasons:data/reasons.json'] as const;

/** The compiler was not found, or did not accept what it was given. */
export class OpaFailed extends Error {
  override readonly name = 'OpaFailed';
}

/** The version `go.mod` pins. The bundle's bytes depend on it, so no other will do. */
export function pinnedVersion(): string {
  const goMod = readFileSync(`${POLICIES}/go.mod`, 'utf8');
  const version = /\sgithub\.com\/open-policy-agent\/opa v(\S+)/.exec(goMod)?.[1];
  if (version === undefined)
    throw new OpaFailed('policies/go.mod does not name github.com/open-policy-agent/opa');
  return version;
}

type Command = readonly [program: string, ...args: string[]];

function run([program, ...first]: Command, args: readonly string[], input?: string) {
  return spawnSync(program, [...first, ...args], {
    cwd: POLICIES,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    ...(input === undefined ? {} : { input }),
    // A PATH without Go's newer toolchain must say so here, not fetch one in the middle of a check.
    env: { ...process.env, GOTOOLCHAIN: process.env['GOTOOLCHAIN'] ?? 'local' },
  });
}

/** The `opa` program in the pinned version. */
export class Opa {
  readonly version: string;
  readonly #command: Command;

  private constructor(command: Command, version: string) {
    this.#command = command;
    this.version = version;
  }

  /**
   * `opa` on the PATH if it is the pinned version, else the Go tool.
   * @throws OpaFailed saying what to install
   */
  static find(): Opa {
    const version = pinnedVersion();
    const seen: string[] = [];
    const candidates: readonly Command[] = [['opa'], ['go', 'tool', 'opa']];
    for (const command of candidates) {
      const { status, stdout, stderr, error } = run(command, ['version']);
      const found = /^Version: (\S+)$/m.exec(stdout ?? '')?.[1];
      if (status === 0 && found === version) return new Opa(command, version);
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

  /**
   * Runs one command in the policies folder.
   * @returns standard output
   * @throws OpaFailed with everything the program printed
   */
  run(args: readonly string[], input?: string): string {
    const { status, stdout, stderr, error } = run(this.#command, args, input);
    if (status === 0) return stdout;
    throw new OpaFailed(
      [`opa ${args.join(' ')}`, error?.message ?? '', stdout ?? '', stderr ?? '']
        .filter(Boolean)
        .join('\n')
        .trim(),
    );
  }
}
