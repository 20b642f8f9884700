import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import t from 'tap';
import { ExchangePair, trustDocument } from '../../conformance/builders/exchanges.ts';
import { HandClock, logOptions, originOf, CONSUMER, PROVIDER } from '../../conformance/builders/log.ts';
import { openLog } from '../evidence/log.ts';
import { registerAudit } from './audit.ts';

const dir = t.testdir();
const trust = `${dir}/trust.json`;
const logs = [`${dir}/consumer`, `${dir}/provider`] as const;

/** Runs the command as the shell would, and returns what it printed and its exit status. */
async function run(...argv: string[]): Promise<{ out: string; status: typeof process.exitCode }> {
  const program = new Command('troad').exitOverride().configureOutput({ writeErr: () => undefined });
  registerAudit(program);
  const captured = t.capture(process.stdout, 'write', () => true);
  const before = process.exitCode;
  try {
    await program.parseAsync(['audit', ...argv], { from: 'user' });
    return {
      out: captured()
        .map(({ args }) => String(args[0]))
        .join(''),
      status: process.exitCode,
    };
  } finally {
    captured.restore();
    process.exitCode = before;
  }
}

void t.test('audit verify and audit show, their output and exit status', async (t) => {
  await writeFile(trust, JSON.stringify(trustDocument()));
  const clock = new HandClock();
  const consumer = await openLog(logOptions(logs[0], { clock, origin: originOf(CONSUMER) }));
  const provider = await openLog(logOptions(logs[1], { clock, origin: originOf(PROVIDER) }));
  const pair = await ExchangePair.sign(1, clock);
  await pair.write(consumer, 'c');
  await pair.write(provider, 'p');
  await consumer.close();
  await provider.close();

  const text = await run('verify', ...logs, '--trust', trust);
  t.match(text, { status: 0, out: /GOOD/ });
  const json = await run('verify', ...logs, '--trust', trust, '--json');
  t.match(JSON.parse(json.out), { result: 'good', logs: [{ size: '4' }, { size: '4' }] });
  const quick = await run('verify', ...logs, '--trust', trust, '--no-deep', '--json');
  t.notMatch(quick.out, /message signatures/);

  const shown = await run('show', 'client-1', '--log', logs[0], '--log', logs[1], '--trust', trust);
  t.match(shown, { status: 0, out: /signed by/ });
  const none = await run('show', 'nobody', '--log', logs[0], '--trust', trust, '--json');
  t.match(none.status, 1);
  t.match(JSON.parse(none.out), { result: 'not found', exchanges: [] });

  await writeFile(`${logs[1]}/head`, 'x');
  t.match(await run('verify', logs[1], '--trust', trust), { status: 1, out: /FAIL {2}signed heads[^]*BAD/ });
});

void t.test('wrong usage is the command line’s to answer', async (t) => {
  await t.rejects(run('verify', ...logs, '--trust', `${dir}/nowhere`), { name: 'ConfigError' });
  await t.rejects(run('verify', '--trust', trust), { name: 'CommanderError' });
  await t.rejects(run('verify', ...logs), { name: 'CommanderError' });
  await t.rejects(run('show', 'x', '--trust', trust), { name: 'CommanderError' });
});
