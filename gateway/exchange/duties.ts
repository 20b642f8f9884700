import { Denied } from '../core/errors.ts';
import type { RefusalCode } from '../core/refusals.ts';
import type { Obligations } from '../trust/obligations.ts';
import type { Pace } from './pace.ts';
import type { Ceiling } from './relay.ts';

/** RFC 9110 §9.2.1, as far as requests are carried. */
const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Content of one direction: as much as the decision in force lets through. */
export class Bound implements Ceiling {
  readonly code: RefusalCode;
  bytes = Number.MAX_SAFE_INTEGER;

  constructor(code: RefusalCode) {
    this.code = code;
  }

  /** @param length announced, or of content that is here; undefined while nobody knows it. @throws Denied */
  require(length: number | undefined): void {
    if (length !== undefined && length > this.bytes)
      throw new Denied(this.code, `${length} of at most ${this.bytes} bytes`);
  }
}

/** What one exchange is bound to by its Grant. While it runs another decision may bind it otherwise. */
export class Duties implements Pace {
  readonly request = new Bound('policy.request_too_large');
  readonly response = new Bound('policy.response_too_large');
  readonly #method: string;
  #inForce: Obligations = {};

  /** @throws Denied `policy.read_only` */
  constructor(method: string, obligations: Obligations) {
    this.#method = method;
    this.renew(obligations);
  }

  get inForce(): Obligations {
    return this.#inForce;
  }

  /** Of either direction. */
  get bytesPerSecond(): number | undefined {
    return this.#inForce.max_bytes_per_second;
  }

  /** @throws Denied `policy.read_only` */
  renew(obligations: Obligations): void {
    const { read_only, max_request_bytes, max_response_bytes } = obligations;
    if (read_only === true && !READING.has(this.#method))
      throw new Denied('policy.read_only', `${this.#method} is not reading`);
    this.#inForce = obligations;
    this.request.bytes = max_request_bytes ?? Number.MAX_SAFE_INTEGER;
    this.response.bytes = max_response_bytes ?? Number.MAX_SAFE_INTEGER;
  }
}
