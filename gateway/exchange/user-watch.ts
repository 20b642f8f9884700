import type { Denied } from '../core/errors.ts';
import type { Gateway } from './gateway.ts';
import type { PresentedUser } from './users.ts';

/** Ends one exchange when the session ends that it was granted for. */
export class UserWatch {
  #revoked: Denied | undefined;
  #release: (() => void) | undefined;

  /** Why the exchange has to end, once that is so. */
  get revoked(): Denied | undefined {
    return this.#revoked;
  }

  /** @param abort breaks off what runs; where nothing runs yet, {@link revoked} is looked at before it begins */
  begin(
    user: PresentedUser | undefined,
    gateway: Pick<Gateway, 'users'>,
    abort: (cause: Denied) => void,
  ): void {
    if (user === undefined) return; // systems talk without one
    this.#release = gateway.users.running.register(user.assertion, (cause) => {
      this.#revoked = cause;
      abort(cause);
    });
  }

  /** The exchange is over. */
  end(): void {
    this.#release?.();
  }
}
