import { administrate } from './attestor-client.ts';
import type { Presenter } from './attested-client.ts';
import { Shape } from './shape.ts';

/** What is asked of the agent at most once in this time, for however many requests: results change every minute or two. */
const RESULT_MS = 1000;

interface Current {
  readonly result: string;
  /** Which run of the agent: another one may have other keys. */
  readonly run: string;
}

/** The value of the field with which a machine shows its result and the binding of the connection (docs/protocol.md). */
export const deviceField = ({ result, binding }: { result: string; binding: string }): string =>
  `result="${result}", binding="${binding}"`;

/**
 * Presents what the agent of this machine has, which it asks over its Unix socket: the result once a second, a signature
 * of the TPM once for each connection.
 * @param failed told why when there is nothing to show; requests then go without, and the gateway decides
 */
export function agentPresenter(
  socketPath: string,
  monotonic: () => number,
  failed: (why: unknown) => void,
): Presenter {
  const bindings = new WeakMap<object, { readonly run: string; readonly binding: Promise<string> }>();
  let asked: { readonly answer: Promise<Current>; readonly at: number } | undefined;
  const current = (): Promise<Current> => {
    const now = monotonic();
    if (asked === undefined || now - asked.at > RESULT_MS) asked = { answer: currentOf(socketPath), at: now };
    return asked.answer;
  };
  return async ({ exporter, id }) => {
    try {
      const { result, run } = await current();
      let known = bindings.get(id);
      if (known?.run !== run) {
        known = { run, binding: bindingOf(socketPath, exporter) };
        bindings.set(id, known);
        known.binding.catch(() => bindings.delete(id)); // the next request tries again
      }
      return deviceField({ result, binding: await known.binding });
    } catch (thrown) {
      failed(thrown);
      return undefined;
    }
  };
}

async function currentOf(socketPath: string): Promise<Current> {
  const answer = await administrate(socketPath, { method: 'GET', path: '/result' });
  return Shape.receive(answer, 'result', (shape) => ({
    result: shape.text('result', /^[\w.-]+$/),
    run: shape.text('run'),
  }));
}

async function bindingOf(socketPath: string, exporter: Buffer): Promise<string> {
  const body = { exporter: exporter.toString('base64url') };
  const answer = await administrate(socketPath, { method: 'POST', path: '/present', body });
  return Shape.receive({ binding: answer['binding'] }, 'binding', (shape) =>
    shape.text('binding', /^[\w-]{86}$/),
  );
}
