import type { Clock, EpochMs } from '../core/clock.ts';
import { Denied } from '../core/errors.ts';
import { type DeviceConnection, NodeDevice, type PresentedResult } from '../device/attested-device.ts';
import { EXPORTER_BYTES, EXPORTER_LABEL } from '../device/binding.ts';
import type { DeviceMinimum } from '../device/demand.ts';
import type { DeviceRegister } from '../device/register.ts';
import type { PeerGateway } from '../identity/peer.ts';
import type { LinkSession } from '../link/link.ts';
import type { Registry } from '../registry/registry.ts';
import { readCertificate } from '../x509/certificate.ts';
import type { RunningDevices } from './running-devices.ts';

export interface PeerNodesOptions {
  /** Whom nodes' results are issued for: every gateway of the instance, because the link's certificate and the binding
   * say already whose connection it is. */
  readonly instance: string;
  readonly clock: Clock;
  readonly registry: () => Registry;
  readonly register: DeviceRegister;
  readonly running: RunningDevices;
}

/** What the peer has shown on one session. */
interface Shown {
  readonly peer: PeerGateway;
  readonly facts: DeviceConnection;
  readonly presented: PresentedResult;
  readonly node: NodeDevice;
  /** Keys of attestation services come from the registry: another registry, another verification. */
  readonly registry: string;
  readonly unwatch: () => void;
}

/** Hosts of peer gateways, by the link session that they were bound to. */
export class PeerNodes {
  readonly #options: PeerNodesOptions;
  readonly #shown = new Map<LinkSession, Shown>();

  constructor(options: PeerNodesOptions) {
    this.#options = options;
  }

  /**
   * The peer shows a result on a session. A newer one holds for its other sessions, too: their bindings are about the
   * connection and not about the result.
   * @throws Denied `device.*`
   */
  take(session: LinkSession, peer: PeerGateway, presented: PresentedResult): NodeDevice {
    const before = this.#shown.get(session);
    const facts = before?.facts ?? factsOf(session);
    const node = this.#verified(session, peer, facts, presented);
    for (const [other, shown] of this.#shown) {
      const { certificate, device } = shown.node;
      if (other === session || certificate !== node.certificate || device !== node.device) continue;
      if (!node.isNewerThan(shown.node)) continue;
      this.#verified(other, shown.peer, shown.facts, { ...shown.presented, token: presented.token });
    }
    this.#options.running.renewed(node);
    return node;
  }

  #verified(
    session: LinkSession,
    peer: PeerGateway,
    facts: DeviceConnection,
    presented: PresentedResult,
  ): NodeDevice {
    const { instance, clock, register, registry: inForce } = this.#options;
    const registry = inForce();
    const checks = { keys: registry.attestorKeys('node', peer.member), register };
    const node = NodeDevice.verify(presented, facts, peer.name, instance, checks, clock.now());
    this.forget(session);
    // Exchanges first: each says in its record why it ends. Then the session, busy or not.
    const unwatch = register.watch(node, (cause) => setImmediate(() => session.end(cause)));
    this.#shown.set(session, { peer, facts, presented, node, registry: registry.sha256, unwatch });
    return node;
  }

  /** The peer's host, as shown on this session and still good; undefined when there is none. */
  of(session: LinkSession, now = this.#options.clock.now()): NodeDevice | undefined {
    const shown = this.#shown.get(session);
    return shown === undefined ? undefined : this.#current(session, shown, now);
  }

  /** The same on any session of a peer: what a policy is shown before a session is chosen. */
  latest(peer: string): NodeDevice | undefined {
    const now = this.#options.clock.now();
    for (const [session, shown] of this.#shown) {
      const node = shown.peer.name === peer ? this.#current(session, shown, now) : undefined;
      if (node !== undefined) return node;
    }
    return undefined;
  }

  /** The host that all these sessions are as good as; undefined where one has none, or none is the least in all. */
  common(sessions: readonly LinkSession[]): NodeDevice | undefined {
    const hosts: NodeDevice[] = [];
    const now = this.#options.clock.now();
    for (const session of sessions) {
      const host = this.of(session, now);
      if (host === undefined) return undefined;
      hosts.push(host);
    }
    return hosts.find((least) => hosts.every((host) => host === least || isAsGood(host, levelsOf(least))));
  }

  /** Before a byte goes out on a session. @throws Denied `device.node_required`, `device.node_insufficient` */
  require(session: LinkSession, minimum: DeviceMinimum): NodeDevice {
    const node = this.of(session);
    if (node === undefined) throw new Denied('device.node_required', 'nothing current on this session');
    try {
      node.requireAtLeast(minimum);
    } catch (cause) {
      if (!(cause instanceof Denied)) throw cause;
      throw new Denied('device.node_insufficient', cause.message, { cause });
    }
    return node;
  }

  /** The session is closed. */
  forget(session: LinkSession): void {
    this.#shown.get(session)?.unwatch();
    this.#shown.delete(session);
  }

  #current(session: LinkSession, shown: Shown, now: EpochMs): NodeDevice | undefined {
    try {
      if (shown.registry !== this.#options.registry().sha256)
        return this.#verified(session, shown.peer, shown.facts, shown.presented);
      shown.node.requireCurrent(now);
      return shown.node;
    } catch (thrown) {
      if (!(thrown instanceof Denied)) throw thrown;
      return undefined; // the policy says whether one was needed
    }
  }
}

/** For a check that another host is as good. */
export const levelsOf = ({ tpmTier, healthTier, residency }: NodeDevice): DeviceMinimum => ({
  tpm: tpmTier,
  health: healthTier,
  residency,
});

function isAsGood(host: NodeDevice, least: DeviceMinimum): boolean {
  try {
    host.requireAtLeast(least);
    return true;
  } catch (thrown) {
    if (!(thrown instanceof Denied)) throw thrown;
    return false;
  }
}

const factsOf = (session: LinkSession): DeviceConnection => ({
  certificateSha256: session.tls.peer,
  spkiSha256: readCertificate(session.peerCertificate).spkiSha256,
  exporter: session.exportKeyingMaterial(EXPORTER_LABEL, EXPORTER_BYTES),
});
