import { z } from 'zod';
import type { DevicesConfig } from './config.ts';
import type { ConfigFiles } from './files.ts';
import { path, seconds } from './values.ts';

export const devicesSchema = z.strictObject({
  agent: path
    .optional()
    .describe(
      'Unix socket of the device agent (`troad device run`) that attests this host to other gateways.',
    ),
  ca: path
    .optional()
    .describe(
      'PEM file: authorities of the attestation services asked for revocations. Default: those of the system.',
    ),
  retrySeconds: seconds(0.1, 300)
    .default(2)
    .describe(
      'Pause after an attestation service could not be asked; meanwhile results expire, without grace.',
    ),
  feedSilenceSeconds: seconds(1, 3600)
    .default(120)
    .describe(
      'After so long without an answer of an attestation service that is asked for revocations the operator is told. It answers every 25 seconds.',
    ),
});

export function assembleDevices(
  { agent, ca, retrySeconds, feedSilenceSeconds }: z.output<typeof devicesSchema>,
  files: ConfigFiles,
): DevicesConfig {
  return {
    // The agent may be started later than the gateway: its socket need not be there yet.
    ...(agent === undefined ? {} : { agent: files.absolute(agent) }),
    ...(ca === undefined ? {} : { ca: files.readable('/devices/ca', ca) }),
    retryMs: Math.round(retrySeconds * 1000),
    feedSilenceMs: Math.round(feedSilenceSeconds * 1000),
  };
}
