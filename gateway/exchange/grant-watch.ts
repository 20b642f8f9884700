import { Denied } from '../core/errors.ts';
import type { NodeDevice } from '../device/attested-device.ts';
import type { DeviceDemand } from '../device/demand.ts';
import { challenged as deviceChallenged, type PresentedDevice } from './devices.ts';
import type { Dossier } from './dossier.ts';
import type { Gateway } from './gateway.ts';
import type { Machine } from './running-devices.ts';
import { challenged, type PresentedUser } from './users.ts';

/** What one exchange was granted on and would not have been granted without. */
export interface Lease {
  /** Undefined where systems talk without a user. */
  readonly user: PresentedUser | undefined;
  readonly endpoint: PresentedDevice | undefined;
  /** Host of the peer gateway. */
  readonly node: NodeDevice | undefined;
  /** What the agreement demands of machines. */
  readonly demand: 'none' | DeviceDemand;
  /** Gateway of the provider, where that is another: it has the client's machine in our word. */
  readonly at: string | undefined;
}

type Context = Pick<Gateway, 'users' | 'devices' | 'name' | 'clock'>;

/** Ends one exchange when something ends that it was granted for: the user's session, the state of a machine. */
export class GrantWatch {
  #revoked: Denied | undefined;
  readonly #releases: (() => void)[] = [];

  /** Why the exchange has to end, once that is so. */
  get revoked(): Denied | undefined {
    return this.#revoked;
  }

  /**
   * What the grant rests on is looked at once more: it may have ended while others were asked, before anybody watched.
   * @param abort breaks off what runs; where nothing runs yet, {@link revoked} is looked at before it begins
   * @throws Denied `assertion.revoked`, `device.*`
   */
  begin(
    lease: Lease,
    gateway: Context,
    dossier: Pick<Dossier, 'renewed'>,
    abort: (cause: Denied) => void,
  ): void {
    const { user, endpoint, node, demand, at } = lease;
    requireStanding(lease, gateway);
    const end = (cause: Denied): void => {
      this.#revoked ??= cause;
      abort(cause);
    };
    if (user !== undefined) this.#releases.push(gateway.users.running.register(user.assertion, end));
    const demanded = demand === 'none' ? {} : demand;
    const { running } = gateway.devices;
    const renewed = (machine: Machine): void => dossier.renewed(machine);
    if (endpoint !== undefined)
      this.#releases.push(running.register(endpoint.machine, demanded.endpoint, end, { at, renewed }));
    if (node !== undefined) this.#releases.push(running.register(node, demanded.node, end, { renewed }));
  }

  /** The exchange is over. */
  end(): void {
    for (const release of this.#releases) release();
  }
}

function requireStanding({ user, endpoint }: Lease, { users, name, clock }: Context): void {
  try {
    if (user !== undefined) users.revocations.requireValid({ claims: user.assertion });
  } catch (thrown) {
    throw challenged(thrown, undefined);
  }
  try {
    endpoint?.machine.requireCurrent(clock.now());
  } catch (thrown) {
    throw thrown instanceof Denied ? deviceChallenged(thrown, name) : thrown;
  }
}
