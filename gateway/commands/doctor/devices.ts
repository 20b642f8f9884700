import { readFile } from 'node:fs/promises';
import type { GatewayConfig } from '../../config/config.ts';
import { base64url, sha256 } from '../../core/bytes.ts';
import { type EpochMs, toSeconds } from '../../core/clock.ts';
import { describe } from '../../core/errors.ts';
import { memberOf, subsystemOf } from '../../core/ids.ts';
import { parseEar } from '../../device/ear.ts';
import { Revocations } from '../../device/revocations.ts';
import { openToken } from '../../device/token.ts';
import type { Attestor } from '../../registry/entries.ts';
import type { Registry } from '../../registry/registry.ts';
import { asksAgent } from '../../server/device-agent.ts';
import { RevocationClient } from '../../server/fetch-revocations.ts';
import { parsePem } from '../../x509/pem.ts';
import type { Report } from './finding.ts';

const PATIENCE_MS = 5_000;
const AGENT = 'device agent';

/** Machines: who vouches for them, whether that can be asked, and the host that the gateway runs on. */
export async function checkDevices(
  report: Report,
  config: Pick<GatewayConfig, 'devices' | 'node' | 'link'>,
  registry: Registry,
  now: EpochMs,
): Promise<void> {
  const demanded = demandsOf(registry, config.node.member);
  for (const kind of ['endpoint', 'node'] as const) {
    if (demanded[kind].length === 0) continue;
    const subject = kind === 'node' ? 'attested hosts' : 'attested machines';
    const which = `demanded by ${demanded[kind].join(', ')}`;
    if (registry.attestors.some(({ row }) => row.classes.includes(kind))) report.ok(subject, which);
    else
      report.bad(
        subject,
        `${which}, and the registry names no service that could attest them`,
        'have the operator of the registry add one to attestors, or drop the demand',
      );
  }
  const { agent, ca } = config.devices;
  if (agent !== undefined) await checkAgent(report, agent, config, registry, now);
  else if (demanded.node.length > 0)
    report.warn(
      AGENT,
      `none is configured, and hosts are demanded by ${demanded.node.join(', ')}`,
      'run troad device run on this host, and name its socket in devices.agent',
    );
  const authorities = ca === undefined ? undefined : await readFile(ca);
  for (const attestor of registry.attestors) await checkFeed(report, attestor, authorities, now);
}

/** Agreements of ours that demand machines, by kind. */
function demandsOf({ document }: Registry, member: string) {
  const demanded: Record<'endpoint' | 'node', string[]> = { endpoint: [], node: [] };
  for (const { id, consumer, service, device } of document.agreements) {
    const ours = memberOf(consumer) === member || memberOf(subsystemOf(service)) === member;
    if (!ours || device === 'none') continue;
    for (const kind of ['endpoint', 'node'] as const) if (device[kind] !== undefined) demanded[kind].push(id);
  }
  return demanded;
}

async function checkAgent(
  report: Report,
  socket: string,
  { node, link }: Pick<GatewayConfig, 'node' | 'link'>,
  registry: Registry,
  now: EpochMs,
): Promise<void> {
  const again = 'start troad device run on this host, and look at what it says';
  await report.check(AGENT, again, async () => {
    const { result } = Object(JSON.parse(await asksAgent(socket, '/result'))) as {
      readonly result?: unknown;
    }; // any object may be asked
    if (typeof result !== 'string') throw new Error(`${socket}: no result`);
    const { payload } = openToken('ear+jwt', result, registry.attestorKeys('node', node.member));
    const content = parseEar(payload);
    const [leaf] = parsePem('CERTIFICATE', await readFile(link.cert, 'utf8'));
    const left = content.expiresAt - toSeconds(now);
    const facts = `${content.issuer} vouches for this host for ${left} s more`;
    const bad = (what: string, advice: string): void => report.bad(AGENT, `${facts}, but ${what}`, advice);
    if (left <= 0) bad('that is over', again);
    else if (content.gateway !== node.name)
      bad(
        `as the host of ${content.gateway ?? 'no gateway'}`,
        `troad attestor approve --gateway ${node.name}`,
      );
    else if (content.audience !== node.instance)
      bad(`for ${content.audience}`, `start troad device run with --audience ${node.instance}`);
    else if (leaf === undefined || content.certificate !== base64url(sha256(leaf)))
      bad('for another certificate', 'start troad device run with --certificate and the file of link.cert');
    else report.ok(AGENT, facts);
    if (content.softwareTpm)
      report.warn(
        'software TPM',
        'the TPM of this host is a program, which protects nothing from whoever runs it: for laboratories only',
        'enrol hardware, and remove lab_softwareTpmRoots from the attestation service',
      );
  });
}

async function checkFeed(
  report: Report,
  { issuer, row, revocationKeys }: Attestor,
  ca: Buffer | undefined,
  now: EpochMs,
): Promise<void> {
  const url = row.revocations?.url;
  const subject = 'revocations of machines';
  if (url === undefined) {
    report.warn(
      subject,
      `${issuer} has no list: what it takes back ends with its result, after ${row.maxLifetimeSeconds} s at most`,
      'have the operator of the registry add revocations to its row',
    );
    return;
  }
  const client = new RevocationClient(url, ca);
  const timer = setTimeout(() => client.close(), PATIENCE_MS);
  try {
    const list = Revocations.open(await client.ask(undefined), revocationKeys);
    const age = Math.max(0, toSeconds(now) - list.issuedAt); // clocks differ
    report.ok(
      subject,
      `${issuer}: list ${list.sequence}, ${[...list.devices].length} machines, signed ${age} s ago`,
    );
  } catch (thrown) {
    report.warn(
      subject,
      `${issuer} at ${url}: ${describe(thrown)}`,
      'until it can be asked, what it takes back ends with its result; check the network, and devices.ca',
    );
  } finally {
    clearTimeout(timer);
    client.close();
  }
}
