import { describe, Unavailable } from '../core/errors.ts';

/** The connection or one exchange on it broke off. */
export function broken(detail: string, cause?: unknown): Unavailable {
  return new Unavailable('link.broken', cause === undefined ? detail : `${detail}: ${describe(cause)}`, {
    cause,
  });
}

/** The same error when it already says what happened, else `link.broken` around it. */
export function asBroken(detail: string, cause: unknown): Error {
  return cause instanceof Error && (cause.name === 'Denied' || cause.name === 'Unavailable')
    ? cause
    : broken(detail, cause);
}

/** System errors that say nobody was reached. Everything else after TCP came up is about who answered. */
const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'EADDRNOTAVAIL',
  'EMFILE',
  'ENFILE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EAI_NODATA',
  'EAI_NONAME',
]);

/** Why no session came to be, as the table of refusals names it. */
export function connectFailure(cause: unknown, where: string): Unavailable {
  if (cause instanceof Unavailable) return cause;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (code === 'ETIMEDOUT') return new Unavailable('link.timeout', `${where}: ${describe(cause)}`, { cause });
  const kind = UNREACHABLE.has(code) ? 'link.unreachable' : 'link.peer_rejected';
  return new Unavailable(kind, `${where}: ${describe(cause)}`, { cause });
}
