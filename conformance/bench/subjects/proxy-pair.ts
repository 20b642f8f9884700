import type { Lab } from '../lab.ts';
import { freePort, missing, type Running } from '../spawn.ts';
import { startUserMachine, UNREAD_FIELDS } from '../user-load.ts';
import { inspectHop } from './hop.ts';
import type { Subject, SubjectKind } from './subject.ts';

/** Where the two ends of a pair of proxies listen. */
export interface PairPorts {
  /** The near end, in plain HTTP. */
  readonly port: number;
  /** The near end, with mutual TLS towards machines of users. */
  readonly userPort: number;
  readonly farPort: number;
}

/** Starts one end. @returns when it listens */
type Start = (lab: Lab, ports: PairPorts) => Promise<Running>;

/** Two proxies of a kind with mutual TLS between them. @param name of the program, too */
export const proxyPair = (name: string, startFar: Start, startNear: Start): SubjectKind => ({
  name,
  missing: () => missing(name),
  start: (lab) => start(name, lab, startFar, startNear),
});

/** The far one first, its hop inspected before the near one uses it. */
async function start(name: string, lab: Lab, startFar: Start, startNear: Start): Promise<Subject> {
  const { dir, certificates } = lab;
  const ports = { port: await freePort(), userPort: await freePort(), farPort: await freePort() };
  const started: Pick<Running, 'stop'>[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((each) => each.stop()));
  };
  try {
    const far = await startFar(lab, ports);
    started.push(far);
    const context = await inspectHop(certificates, ports.farPort);
    const near = await startNear(lab, ports);
    started.push(near);
    await inspectHop(certificates, ports.userPort);
    const machine = await startUserMachine(dir, name, `127.0.0.1:${ports.userPort}`, certificates.user);
    started.push(machine);
    return {
      name,
      gateways: [
        { role: 'near', pid: near.pid },
        { role: 'far', pid: far.pid },
      ],
      target: (door, path) => ({ url: `http://127.0.0.1:${ports.port}/${door}${path}`, headers: {} }),
      userTarget: (connections) =>
        Promise.resolve({ url: `${machine.url[connections]}/bench/echo`, headers: UNREAD_FIELDS }),
      context,
      stop,
      audit: () => Promise.resolve([]),
    };
  } catch (cause) {
    await stop();
    throw cause;
  }
}
