import { request } from 'node:http';
import { administrate } from '../attest/attestor-client.ts';
import type { Break, BreakReport } from './devices/breaks.ts';
import type { SandboxReady } from './sandbox.ts';
import { TourFailed, type Narrator } from './tour.ts';

const ATTESTED = '/r1/TW/GOV/B07/housing/attested/echo/hello';

/**
 * The part of the tour about machines: one that is as it was installed, and what becomes of somebody who breaks into it.
 * @returns the exchange of the attested machine
 * @throws TourFailed
 */
export async function takeDeviceTour(
  { consumer, device }: Pick<SandboxReady, 'consumer' | 'device'>,
  narrator: Narrator,
): Promise<string | undefined> {
  if (device === undefined) {
    narrator.step('Machines: left out, swtpm is not installed (apt-get install swtpm swtpm-tools)');
    return undefined;
  }
  narrator.step(
    'A service for attested machines only: the TPM of the machine signs its connection to the gateway',
  );
  const bare = await ask(`${consumer.url}${ATTESTED}`);
  demand(bare.status === 401, `without attestation: ${bare.status}`);
  narrator.line(`a machine that shows nothing → ${bare.status}`);
  const good = await ask(`${device.proxy}${ATTESTED}`);
  demand(good.status === 200, `the attested machine: ${good.status}`);
  narrator.line(`the attested machine → ${good.status}, exchange ${good.exchange}`);

  const play = async (what: Break): Promise<void> => {
    const answer = await administrate(device.control, { method: 'POST', path: '/break', body: { what } });
    // The sandbox's own answer.
    const { did, expected, observed, asExpected } = answer as unknown as BreakReport;
    for (const done of did) narrator.line(`the intruder ${done}`);
    for (const { seconds, status, code } of observed)
      narrator.line(`after ${seconds.toFixed(1)} s → ${status}${code === null ? '' : ` ${code}`}`);
    narrator.line(expected);
    demand(asExpected, `${what} ended otherwise`);
  };
  narrator.step('Somebody copies its result and its TLS key to another connection');
  await play('relayed-result');
  narrator.step(
    'Somebody loads a boot kit into the running machine, and goes on showing its last good result',
  );
  await play('extend-pcr');
  return good.exchange;
}

function demand(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new TourFailed(otherwise);
}

function ask(url: string): Promise<{ readonly status: number; readonly exchange: string }> {
  return new Promise((resolve, reject) => {
    request(url, { headers: { 'x-road-client': 'TW/GOV/A11/welfare' } }, (answer) => {
      answer.resume();
      answer.once('end', () => {
        const exchange = String(answer.headers['x-road-request-id'] ?? '');
        resolve({ status: answer.statusCode ?? 0, exchange });
      });
    })
      .on('error', reject)
      .end();
  });
}
