import type { GatewayConfig } from '../config/config.ts';
import { DeviceRegister } from '../device/register.ts';
import { type DeviceNews, type DeviceTrust, VerifiedDevices } from '../exchange/device-checks.ts';
import { Greetings, type GreetingsOptions } from '../exchange/greeting.ts';
import { PeerNodes } from '../exchange/peer-nodes.ts';
import { RunningDevices } from '../exchange/running-devices.ts';
import type { LinkEvent } from '../link/link.ts';
import type { Registry } from '../registry/registry.ts';
import { askAgent } from '../server/device-agent.ts';
import type { Emit } from '../telemetry/events.ts';
import { clock } from './clock.ts';

/** Machines as one worker knows them. */
export function openDevices(
  { node: { instance }, devices: { agent }, workers }: GatewayConfig,
  registry: () => Registry,
  directory: GreetingsOptions['directory'],
  emit: Emit,
  { share, softwareTpm }: { share: (news: DeviceNews) => void; softwareTpm: (issuer: string) => void },
): DeviceTrust {
  const register = new DeviceRegister(softwareTpm);
  const running = new RunningDevices(register, clock);
  const nodes = new PeerNodes({ instance, clock, registry, register, running });
  let told: string | undefined;
  const problem = (detail: string): void => {
    // Asked again every few seconds: each text once, as long as it is the same.
    if (detail !== told) emit('device.problem', { detail });
    told = detail;
  };
  const greetings = new Greetings({
    clock,
    nodes,
    directory,
    wanted: () => registry().attestors.length > 0,
    agent: agent === undefined ? undefined : (exporter) => askAgent(agent, exporter, clock),
    onProblem: problem,
  });
  return {
    register,
    running,
    nodes,
    greetings,
    relayed: new VerifiedDevices(),
    share: workers > 1 ? share : () => undefined,
    problem,
  };
}

/** What a session has shown is forgotten with it. */
export const withFarewell =
  (onEvent: (event: LinkEvent) => void, { greetings }: Pick<DeviceTrust, 'greetings'>) =>
  (event: LinkEvent): void => {
    if (event.kind === 'session.closed') greetings.end(event.session);
    onEvent(event);
  };
