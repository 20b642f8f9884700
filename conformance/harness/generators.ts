import type { GeneratorCall } from './cases.ts';
import type { Outcome } from './expectations.ts';
import { sendFrames, type FrameArgs } from './h2-frames.ts';
import { openSession, type Ending, type Patience } from './link-client.ts';
import { linkRequest, stolenKeys, type LinkRequestArgs } from './link-request.ts';
import type { Target } from './raw-socket.ts';
import type { Subject } from './sandbox.ts';
import { tamper, type Tampering } from './tamper.ts';
import { openTroadSession } from './troad-client.ts';

/** Makes what bytes in a file cannot say: signatures of now, frames inside TLS. Named by cases, with arguments as data. */
type Generate = (subject: Subject, args: GeneratorCall['args'], patience: Patience) => Promise<Outcome>;

interface LinkArgs extends LinkRequestArgs {
  readonly tamper?: readonly Tampering[];
  readonly ending?: Ending;
  /** How often the very same bytes are sent; the outcome is that of the last. */
  readonly times?: number;
  /** Sends the repetitions on connections of their own. */
  readonly reconnect?: boolean;
}

// The arguments come from our own case files; a wrong one shows as a case that does not do what it says.
export const GENERATORS: Readonly<Record<string, Generate>> = {
  'link-request': (subject, args, patience) => sendLinkRequest(subject, args, patience, openSession),
  'link-request over troad/1': (subject, args, patience) =>
    sendLinkRequest(subject, args, patience, openTroadSession),
  'h2-frames': (subject, args, patience) =>
    sendFrames(linkTarget(subject), args as unknown as FrameArgs, patience),
  'h2-frames-of-a-client': (subject, args, patience) =>
    sendFrames(subject.consumer.https, args as unknown as FrameArgs, patience),
  'signed-h2-frames': (subject, args, patience) => sendSignedFrames(subject, args, patience),
};

function linkTarget(subject: Subject): Target {
  const { tls, provider } = stolenKeys(subject);
  const [host = '', port] = subject.ready.provider.link.split(':');
  return { host, port: Number(port), tls: { ...tls, servername: provider } };
}

interface SignedFramesArgs extends LinkRequestArgs {
  /** Fields put behind the signed ones, whatever they are made of. */
  readonly extra?: FrameArgs['headers'];
}

/** A properly signed request, frame by frame, with fields that no library would send. */
async function sendSignedFrames(
  subject: Subject,
  args: SignedFramesArgs,
  patience: Patience,
): Promise<Outcome> {
  const keys = stolenKeys(subject);
  const { method, authority, path, fields, body } = linkRequest(args, keys, Date.now());
  const pseudo = [
    [':method', method],
    [':scheme', 'https'],
    [':authority', authority],
    [':path', path],
  ] as const;
  const length = ['content-length', String(body.length)] as const;
  const headers = [...pseudo, ...fields, length, ...(args.extra ?? [])];
  return sendFrames(linkTarget(subject), { headers, data: body.toString('latin1') }, patience);
}

async function sendLinkRequest(
  subject: Subject,
  args: LinkArgs,
  patience: Patience,
  open: typeof openSession,
): Promise<Outcome> {
  const { tamper: changes = [], ending = 'tidy', times = 1, reconnect = false } = args;
  const keys = stolenKeys(subject);
  const request = linkRequest(args, keys, Date.now());
  for (const change of changes) tamper(request, change);
  const { link } = subject.ready.provider;
  let session = await open(link, keys);
  try {
    let outcome = await session.send(request, ending, patience);
    for (let sent = 1; sent < times; sent += 1) {
      if (reconnect) {
        session.destroy();
        session = await open(link, keys);
      }
      outcome = await session.send(request, ending, patience);
    }
    return outcome;
  } finally {
    session.destroy();
  }
}
