import type { Denied } from '../core/errors.ts';
import type { NodeDevice } from '../device/attested-device.ts';
import type { DeviceDemand } from '../device/demand.ts';
import type { PresentedDevice } from './devices.ts';
import type { Gateway } from './gateway.ts';
import type { PresentedUser } from './users.ts';

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

type Context = Pick<Gateway, 'users' | 'devices'>;

/** Ends one exchange when something ends that it was granted for: the user's session, the state of a machine. */
export class GrantWatch {
  #revoked: Denied | undefined;
  readonly #releases: (() => void)[] = [];

  /** Why the exchange has to end, once that is so. */
  get revoked(): Denied | undefined {
    return this.#revoked;
  }

  /** @param abort breaks off what runs; where nothing runs yet, {@link revoked} is looked at before it begins */
  begin({ user, endpoint, node, demand, at }: Lease, gateway: Context, abort: (cause: Denied) => void): void {
    const end = (cause: Denied): void => {
      this.#revoked ??= cause;
      abort(cause);
    };
    if (user !== undefined) this.#releases.push(gateway.users.running.register(user.assertion, end));
    const demanded = demand === 'none' ? {} : demand;
    const { running } = gateway.devices;
    if (endpoint !== undefined)
      this.#releases.push(running.register(endpoint.machine, demanded.endpoint, end, at));
    if (node !== undefined) this.#releases.push(running.register(node, demanded.node, end));
  }

  /** The exchange is over. */
  end(): void {
    for (const release of this.#releases) release();
  }
}
