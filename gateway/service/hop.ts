import { Pool } from 'undici';
import { Unavailable } from '../core/errors.ts';
import { Call } from './call.ts';
import type { ServiceCall, ServiceRequest, ServiceTarget } from './service.ts';

/** The hop to one service: a pool of HTTP/1.1 connections, no redirects, no retries, no caching, no decompression. */
export class ServiceHop {
  readonly #pool: Pool;
  readonly #target: ServiceTarget;
  #running = 0;

  constructor(target: ServiceTarget) {
    this.#target = target;
    this.#pool = new Pool(target.origin, {
      connections: target.maxConcurrent,
      pipelining: 1,
      headersTimeout: target.timeoutMs,
      bodyTimeout: target.timeoutMs,
      connect: {
        timeout: target.connectMs,
        ...(target.ca === undefined ? {} : { ca: target.ca }),
      },
      allowH2: false,
    });
  }

  /** @throws Denied-like Unavailable `service.overloaded` at once when the service has all it may have */
  call(request: ServiceRequest): ServiceCall {
    if (this.#running >= this.#target.maxConcurrent) {
      throw new Unavailable('service.overloaded', `${this.#running} requests in flight`);
    }
    this.#running++;
    const call = new Call(request, this.#target, () => {
      this.#running--;
    });
    call.dispatch(this.#pool);
    return call;
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async destroy(): Promise<void> {
    await this.#pool.destroy();
  }
}
