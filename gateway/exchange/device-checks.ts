import type { MemberId } from '../core/ids.ts';
import type { EndpointDevice } from '../device/attested-device.ts';
import type { DeviceRegister } from '../device/register.ts';
import type { Greetings } from './greeting.ts';
import type { PeerNodes } from './peer-nodes.ts';
import type { RunningDevices } from './running-devices.ts';

/** More devices than one gateway relays for in the lifetime of a result; each entry is a field of about 1.5 KB. */
const MAX_RELAYED = 8192;

/** A result with what was seen of its connection: plain values, which reach other threads. A proof does not survive the way. */
export interface DeviceNews {
  /** `t-road-device` as it is relayed. */
  readonly field: string;
  /** Gateway that the result is for: this one, or the peer that relayed it. */
  readonly audience: string;
  /** Whose device it is. */
  readonly member: MemberId;
}

/** What verifying machines needs beside the registry, wired in `node.ts`. */
export interface DeviceTrust {
  readonly register: DeviceRegister;
  readonly running: RunningDevices;
  /** Hosts of peer gateways. */
  readonly nodes: PeerNodes;
  readonly greetings: Greetings;
  /** Of results that peers relayed. */
  readonly relayed: VerifiedDevices;
  /** Other workers hear of a result that was new here. */
  readonly share: (news: DeviceNews) => void;
  /** For the operator. */
  readonly problem: (detail: string) => void;
}

/**
 * Results verified before, so that a message costs a look-up. Nothing here is believed for longer than the result says
 * and the register allows: both are asked every time.
 */
export class VerifiedDevices {
  readonly #devices = new Map<string, EndpointDevice>();

  find(key: string): EndpointDevice | undefined {
    return this.#devices.get(key);
  }

  keep(key: string, device: EndpointDevice): void {
    this.#devices.set(key, device);
    if (this.#devices.size <= MAX_RELAYED) return;
    const [oldest] = this.#devices.keys();
    if (oldest !== undefined) this.#devices.delete(oldest);
  }

  forget(key: string): void {
    this.#devices.delete(key);
  }
}
