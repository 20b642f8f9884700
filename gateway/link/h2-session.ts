import type { Http2Session, ServerSessionOptions } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { broken } from './failures.ts';
import type { LinkLimits } from './link.ts';

/**
 * HTTP/2 settings and limits of both ends. Node hands connection-level credit back as soon as bytes arrive, so one
 * stalled stream never stops the others, and what a stalled stream can hold is its own window.
 */
export function sessionOptions(limits: LinkLimits): ServerSessionOptions {
  return {
    settings: {
      enablePush: false,
      initialWindowSize: limits.streamWindow,
      // Twice what a gateway of ours uses: Node counts a stream for a while after it was reset, and refuses the one that
      // took its place.
      maxConcurrentStreams: 2 * limits.streamsPerSession,
      maxHeaderListSize: limits.headBytes,
    },
    maxHeaderListPairs: limits.fields + 4, // the pseudo-header fields count too
    maxSendHeaderBlockLength: limits.headBytes,
    maxSessionMemory: sessionMegabytes(limits),
    maxOutstandingPings: 4,
    maxSettings: 16,
    // Floods (CVE-2019-9511 to -9518, CVE-2023-44487): few mistakes are honest ones.
    maxSessionInvalidFrames: 16,
    maxSessionRejectedStreams: 64,
    streamResetBurst: 4 * limits.streamsPerSession, // above ours, `resetRate`, which says what happened
    streamResetRate: limits.resetsPerSecond,
    unknownProtocolTimeout: limits.connectMs,
  };
}

/** Payload of the PING by which a server asks a client to take its next calls elsewhere. */
export const DRAIN_NOTICE = Buffer.from('tr-drain', 'latin1');

/** Node counts what waits to be sent against this bound and refuses new streams above it. */
function sessionMegabytes(limits: LinkLimits): number {
  return Math.ceil((limits.streamsPerSession * 128 * 1024 + limits.sessionWindow) / 1_000_000);
}

/** Lets the other side send this much in the whole session before it hears from us. */
export function widenWindow(session: Http2Session, limits: LinkLimits): void {
  session.setLocalWindowSize(limits.sessionWindow);
}

/**
 * Calls `onDead` when the other side shows no sign of life: TCP alone notices a vanished machine after many minutes.
 * Traffic is a sign of life too, because behind a big upload the answer to a ping waits its turn.
 * @returns stops it
 */
export function watchLife(
  session: { readonly destroyed: boolean; ping(answered: () => void): unknown },
  socket: TLSSocket,
  limits: LinkLimits,
  onDead: (cause: Error) => void,
): () => void {
  let seen = -1;
  let deadline: NodeJS.Timeout | undefined;
  const interval = setInterval(() => {
    if (deadline !== undefined) return;
    if (session.destroyed) {
      // Node says good-bye with a FIN and waits for the other side's, without a limit.
      deadline = setTimeout(() => socket.destroy(), limits.pingTimeoutMs);
      deadline.unref();
      return;
    }
    if (socket.bytesRead !== seen) {
      seen = socket.bytesRead;
      return;
    }
    deadline = setTimeout(() => {
      deadline = undefined;
      if (socket.bytesRead === seen) onDead(broken(`no sign of life for ${limits.pingTimeoutMs} ms`));
    }, limits.pingTimeoutMs);
    deadline.unref();
    session.ping(() => {
      clearTimeout(deadline);
      deadline = undefined;
    });
  }, limits.pingEveryMs);
  interval.unref();
  return () => {
    clearInterval(interval);
    clearTimeout(deadline);
  };
}
