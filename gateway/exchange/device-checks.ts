import type { MemberId } from '../core/ids.ts';
import { KnownTexts } from '../core/known-texts.ts';
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

/** Of every relayed field: the certificate, and its key. */
const ENDING = ', certificate=::, key=::'.length + 2 * 44;

/**
 * Results verified before, so that a message costs a look-up. Nothing here is believed for longer than the result says
 * and the register allows: both are asked every time.
 */
export class VerifiedDevices {
  readonly #verified = new KnownTexts<Basis & { readonly device: EndpointDevice }>(MAX_RELAYED, ENDING);

  /** What was verified of this very field, on the same basis. */
  find(field: string, { registry, peer }: Basis): EndpointDevice | undefined {
    const found = this.#verified.find(field);
    return found?.registry === registry && found.peer === peer ? found.device : undefined;
  }

  keep(field: string, { registry, peer }: Basis, device: EndpointDevice): void {
    this.#verified.keep(field, { registry, peer, device });
  }
}
