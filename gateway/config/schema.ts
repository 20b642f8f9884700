import { z } from 'zod';
import { parseMemberId, parseServiceId, parseSubsystemId } from '../core/ids.ts';
import { policySchema } from './policy.ts';
import { devicesSchema } from './devices.ts';
import { replicasSchema } from './replicas.ts';
import { path, seconds } from './values.ts';
import { threatIntel } from './threat-intel.ts';

/**
 * What the YAML file may say. One description per setting, which the JSON Schema (`troad config schema`) carries to
 * editors; defaults stand here and nowhere else. Unknown keys are refused everywhere.
 */

const port = z.int().min(0).max(65_535);

/** A host name or address as it is bound or written in a certificate: no port, no scheme. */
const host = z.string().regex(/^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,45})$/, {
  error: 'expected a host name or an IP address',
});

/** A DNS name in lower case with at least two labels: it is compared byte for byte with certificates and registry. */
const dnsName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+$/, {
    error: 'expected a DNS name in lower case, like gw.a11.tw.troad.example',
  });

const identifier = (parse: (text: string) => string | undefined, shape: string) =>
  z
    .string()
    .refine((text) => parse(text) !== undefined, { error: `expected ${shape}, each part percent-encoded` });

/** Bytes, as a number or with a binary unit. */
const sizeError = 'expected a number of bytes, or a size like 64 KiB, 5 MiB, 2 GiB';
const size = z.union(
  [z.int().min(0), z.string().regex(/^(?:0|[1-9]\d{0,8}) ?(?:KiB|MiB|GiB|TiB)$/, { error: sizeError })],
  { error: sizeError },
);

const httpUrl = z.string().max(2048).refine(isServiceUrl, {
  error: 'expected an http or https URL without user, query and fragment',
});

function isServiceUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return (
    (url.protocol === 'http:' || url.protocol === 'https:') &&
    url.username === '' &&
    url.password === '' &&
    !/[?#\\\s]/.test(text)
  );
}

const node = z.strictObject({
  name: dnsName.describe('Registered name of this gateway; the one DNS name in its link certificate.'),
  member: identifier(parseMemberId, 'instance/class/member').describe(
    'Member that runs it, like TW/GOV/A11.',
  ),
  instance: z.string().min(1).max(64).describe('T-Road instance, the first part of every identifier.'),
});

const listen = z.strictObject({
  hosts: z
    .array(host)
    .max(64)
    .default([])
    .describe('Further names clients call this gateway by; localhost and the node name are always known.'),
  http: z
    .strictObject({
      host: host
        .default('127.0.0.1')
        .describe('Loopback only: whoever reaches this port is trusted to be on this machine.'),
      port,
    })
    .optional()
    .describe('For subsystems with access `loopback`.'),
  https: z
    .strictObject({
      host: host.default('0.0.0.0'),
      port,
      cert: path.describe('PEM file: certificate chain shown to the information systems.'),
      key: path.describe('PEM file: its private key, not readable by others.'),
    })
    .optional()
    .describe('For subsystems with access `https` or `mtls`.'),
});

const link = z.strictObject({
  host: host.default('0.0.0.0'),
  port: port.default(5500),
  cert: path.describe('PEM file: link certificate and the issuing authorities below the anchor.'),
  key: path.describe('PEM file: its private key.'),
  ca: path.describe('PEM file: authorities that issue link certificates.'),
  requireHybrid: z
    .boolean()
    .default(false)
    .describe('Refuse peers without the hybrid post-quantum group X25519MLKEM768.'),
  sessionsPerPeer: z.int().min(1).max(16).default(2),
});

const admin = z.strictObject({
  host: host.default('127.0.0.1').describe('Off loopback a tokenFile is required.'),
  port: port.default(5580),
  tokenFile: path
    .optional()
    .describe('File with the bearer token (at least 32 characters) that /metrics and the log ask for.'),
});

const registry = z.strictObject({
  file: path.describe('Signed registry document.'),
  rootKeys: z.array(path).min(1).max(16).describe('PEM files: public keys that may sign it.'),
  reloadSeconds: seconds(1, 86_400).default(30).describe('How often the file is looked at for a change.'),
});

const keys = z.strictObject({
  message: z.strictObject({
    file: path.describe('PEM file: private key that signs exchanges (Ed25519, P-256 or RSA).'),
    kid: z
      .string()
      .regex(/^[\x21-\x7e]{1,200}$/)
      .optional()
      .describe('Key id, where it is not name#SHA-256 of the public key.'),
  }),
  log: path.describe('PEM file: private Ed25519 key that signs checkpoints of the log.'),
  assertion: z
    .array(path)
    .max(4)
    .default([])
    .describe('PEM files: private P-256 keys that identity providers encrypt user assertions to.'),
});

const log = z.strictObject({
  dir: path.describe('Folder of the evidence log: a local disk, never a network file system.'),
  segmentMiB: z
    .int()
    .min(1)
    .max(4096)
    .default(64)
    .describe('Size of one file of the log; two are always allocated.'),
  origin: z
    .string()
    .regex(/^[\x21-\x2a\x2c-\x7e]{1,200}$/, {
      error: 'expected printable characters without spaces and plus signs',
    })
    .optional()
    .describe('Name in checkpoints, without the epoch. Default: node name + /troad-log.'),
});

const subsystem = z.strictObject({
  id: identifier(parseSubsystemId, 'instance/class/member/subsystem'),
  access: z.enum(['mtls', 'https', 'loopback']).default('mtls').describe('How its requests must come in.'),
  certificates: z
    .array(path)
    .max(64)
    .default([])
    .describe('Accepted client certificates: SHA-256 (64 hex digits or base64url), or a PEM file.'),
});

const service = z.strictObject({
  id: identifier(parseServiceId, 'instance/class/member/subsystem/service'),
  url: httpUrl.describe('Base URL; the path after the service code is appended.'),
  timeoutSeconds: seconds(1, 86_400)
    .default(120)
    .describe('Longest wait for the answer to begin, and between two bytes of it.'),
  maxRequestBytes: size
    .default('1 GiB')
    .describe('Larger requests are refused, on their head when it tells the length.'),
  maxResponseBytes: size.optional().describe('Default: no limit; answers are streamed.'),
  maxConcurrent: z.int().min(1).max(10_000).default(256).describe('Connections to the service.'),
  delivery: z
    .enum(['stream', 'verified'])
    .default('stream')
    .describe('verified: the service sees nothing of a request before its signature is checked.'),
  ca: path
    .optional()
    .describe('PEM file: the only authorities accepted for an https service. Default: those of the system.'),
});

const limits = z.strictObject({
  headSeconds: seconds(1, 300).default(10).describe('A request head must have arrived.'),
  bodyIdleSeconds: seconds(1, 3600).default(60).describe('Longest silence inside a body.'),
  connectSeconds: seconds(0.1, 120).default(5).describe('Connection and handshake with a peer or a service.'),
  answerSeconds: seconds(1, 90_000)
    .default(130)
    .describe('Wait for the answer of the other gateway to begin.'),
  idleConnectionSeconds: seconds(1, 3600)
    .default(75)
    .describe('A kept-alive client connection without a request.'),
  drainSeconds: seconds(0, 3600).default(30).describe('Running exchanges may finish during an orderly stop.'),
  policySeconds: seconds(0.05, 60)
    .default(0.5)
    .describe('One evaluation of the policy; a worker that needs longer is ended and replaced.'),
  maxInFlight: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(4096)
    .describe('Exchanges at one time in each worker; more are answered 503.'),
  maxConnections: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(16_384)
    .describe('Connections at one time on each listener of each worker.'),
});

const signals = z.strictObject({
  push: z
    .strictObject({
      host: host.default('127.0.0.1').describe('Off loopback a certificate is required.'),
      port,
      cert: path.optional().describe('PEM file: certificate chain shown to the identity providers.'),
      key: path.optional().describe('PEM file: its private key.'),
    })
    .optional()
    .describe('Listener for security events that identity providers push (RFC 8935), at /signals.'),
  poll: z
    .array(
      z.strictObject({
        url: httpUrl.describe('Polling endpoint of an identity provider (RFC 8936), https.'),
        tokenFile: path.optional().describe('File with the bearer token for it.'),
        pauseSeconds: seconds(0.1, 3600)
          .default(1)
          .describe('Pause between polls that brought nothing, where the provider does not hold them.'),
      }),
    )
    .max(16)
    .default([])
    .describe('Identity providers that are asked for security events.'),
});

const compat = z.strictObject({
  errorCodes: z
    .enum(['camel', 'snake'])
    .default('camel')
    .describe('X-Road error types: CamelCase up to 7.7, snake_case from 7.8.'),
  requestHash: z
    .enum(['whole', 'sha512', 'off'])
    .default('whole')
    .describe(
      'The x-road-request-hash header of answers: to requests of up to 64 KiB, to all (SHA-512 over streams too, a third of what an upload costs), to none.',
    ),
});

export const configSchema = z
  .strictObject({
    node,
    workers: z
      .int()
      .min(1)
      .max(64)
      .default(1)
      .describe('Threads that carry exchanges, each with an evidence log of its own.'),
    listen: listen.prefault({}).describe('Where the information systems of this agency connect.'),
    link: link.describe('Where other gateways connect: mutual TLS 1.3 only.'),
    admin: admin
      .prefault({})
      .describe('Health, readiness, metrics, checkpoint. Never on the network of the exchanges.'),
    registry,
    keys,
    log,
    policy: policySchema,
    subsystems: z
      .array(subsystem)
      .max(10_000)
      .default([])
      .describe('Information systems that may send through this gateway.'),
    services: z.array(service).max(10_000).default([]).describe('Services this gateway offers.'),
    signals: signals.prefault({}).describe('Shared signals: sessions that identity providers end.'),
    replicas: replicasSchema
      .optional()
      .describe('Several processes on several machines as one gateway: what they have in common.'),
    threatIntel: threatIntel
      .prefault({})
      .describe('What is publicly known of the weaknesses that machines report.'),
    devices: devicesSchema
      .prefault({})
      .describe('Attested machines: this host, and what attestation services revoke.'),
    limits: limits.prefault({}),
    compat: compat.prefault({}),
  })
  .meta({ title: 'troad gateway configuration' });

export type ConfigDocument = z.output<typeof configSchema>;

/** JSON Schema (2020-12) of the configuration file, for editors and other tools. */
export function configJsonSchema(): object {
  return z.toJSONSchema(configSchema, { io: 'input' });
}

const UNITS = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 };

/** Bytes of a size that the schema accepted. */
export function bytesOf(value: number | string): number {
  if (typeof value === 'number') return value;
  const [, digits = '', unit = ''] = /^(\d+) ?([A-Za-z]+)$/.exec(value) ?? [];
  return Number(digits) * (Object.entries(UNITS).find(([name]) => name === unit)?.[1] ?? Number.NaN);
}
