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

/** On what a relayed result was verified: of another registry, or relayed by another peer, it says nothing. */
export interface Basis {
  /** Digest of the registry, whose keys of attestation services were asked. */
  readonly registry: string;
  /** Name of the peer gateway, which the result is for. */
  readonly peer: string;
}

interface Verified extends Basis {
  readonly field: string;
  readonly device: EndpointDevice;
}

/** Of every relayed field: the certificate, and its key. */
const ENDING = ', certificate=::, key=::'.length + 2 * 44;
const KEY = 43;

/**
 * What tells one field from another: the end of the result's signature, or of what only this connection knows. To hash all
 * of it would cost ten times what comparing it does.
 */
const keyOf = (field: string): string => field.slice(-ENDING - KEY, -ENDING);

/**
 * Results verified before, so that a message costs a look-up. Nothing here is believed for longer than the result says
 * and the register allows: both are asked every time.
 */
export class VerifiedDevices {
  readonly #verified = new Map<string, Verified>();

  /** What was verified of this very field, on the same basis. */
  find(field: string, { registry, peer }: Basis): EndpointDevice | undefined {
    const found = this.#verified.get(keyOf(field));
    const isSame = found?.field === field && found.registry === registry && found.peer === peer;
    return isSame ? found.device : undefined;
  }

  keep(field: string, { registry, peer }: Basis, device: EndpointDevice): void {
    // A copy: what came is a window on the head that it came in.
    const own = Buffer.from(field, 'latin1').toString('latin1');
    const key = keyOf(own);
    this.#verified.delete(key); // behind all others again
    this.#verified.set(key, { registry, peer, field: own, device });
    if (this.#verified.size <= MAX_RELAYED) return;
    const [oldest] = this.#verified.keys();
    if (oldest !== undefined) this.#verified.delete(oldest);
  }
}
