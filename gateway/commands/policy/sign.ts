import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { ConfigError, MalformedBytes } from '../../core/errors.ts';
import { parsePrivateKey } from '../../x509/key-file.ts';
import { readInput } from '../input.ts';
import { parseCount, printReport } from './report.ts';

interface SignFlags {
  readonly key: string;
  readonly release?: number;
  readonly notBefore?: string;
  readonly expires?: string;
  readonly fresh?: true;
  readonly json?: true;
}

/** `troad policy sign DIR`: one signer's word for a bundle, beside those who signed before. */
export function registerSign(policy: Command): void {
  policy
    .command('sign')
    .description('sign the release of a bundle  簽署政策包')
    .argument('<bundle>', 'folder of the bundle; release.json is written there')
    .requiredOption('--key <file>', 'PEM file: Ed25519 private key of the signer')
    .option('--release <number>', 'version of the release, from 1; the first signer says it', parseCount)
    .option('--not-before <time>', '2026-01-31T00:00:00Z; default: now')
    .option('--expires <time>', '2026-01-31T00:00:00Z; the first signer says it')
    .option('--fresh', 'forget a release that is there already')
    .option('--json', 'the whole report for programs')
    .action(async (dir: string, flags: SignFlags) => {
      const [{ readBundle }, { writeDurably }, { Bundle }, release] = await Promise.all([
        import('../../node/bundle-folder.ts'),
        import('../../node/policy-store.ts'),
        import('../../trust/bundle.ts'),
        import('../../trust/release.ts'),
      ]);
      const path = join(dir, 'release.json');
      const before =
        existsSync(path) && flags.fresh !== true ? readInput('', path, release.parseRelease) : undefined;
      const { digest } = Bundle.parse(readBundle(dir)); // nobody should sign what no gateway would run
      const time = (flag: string, text: string): number =>
        release.timeOf(text) ?? usage(`${flag} ${text}: write it like 2026-01-31T00:00:00Z`);
      const { release: version, notBefore, expires } = flags;
      const statement = {
        bundle: digest,
        version: version ?? before?.version ?? usage('--release is missing'),
        notBefore:
          notBefore === undefined
            ? (before?.notBefore ?? Math.floor(Date.now() / 1000) * 1000)
            : time('--not-before', notBefore),
        expiresAt:
          expires === undefined
            ? (before?.expiresAt ?? usage('--expires is missing'))
            : time('--expires', expires),
      };
      if (statement.expiresAt <= statement.notBefore)
        usage(
          `--expires ${expires ?? ''}: is not after its begin, ${release.timeText(statement.notBefore)}  到期時間不在生效時間之後`,
        );
      if (before !== undefined && !release.isSameStatement(before, statement))
        usage(
          `${path}: says another bundle, version or time; --fresh forgets it and who signed it  內容不同，--fresh 可重新開始`,
        );
      const signed = release.signRelease(statement, privateKeyOf(flags.key), before);
      const text = release.formatRelease(signed);
      release.parseRelease(Buffer.from(text)); // what a gateway would not read is not written
      writeDurably(dir, 'release.json', text);
      const report = { result: 'good', file: path, digest, release: signed };
      printReport(
        report,
        flags.json,
        () =>
          `${path}: version ${signed.version}, ${signed.signatures.length} signature(s), bundle ${digest}\n`,
      );
    });
}

function privateKeyOf(path: string) {
  return readInput('--key', path, (pem) => {
    const key = parsePrivateKey(pem);
    if (key.asymmetricKeyType !== 'ed25519')
      throw new MalformedBytes(
        'is not an Ed25519 key: make one with openssl genpkey -algorithm ed25519  不是 Ed25519 金鑰',
      );
    return key;
  });
}

function usage(problem: string): never {
  throw new ConfigError([problem]);
}
