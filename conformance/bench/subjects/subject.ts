import type { Counted } from '../batching.ts';
import type { Lab } from '../lab.ts';

/** Where a client sends a request for this subject. */
export interface Target {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** How many requests a subject answered with a complete 200, and how many of them were a user's. */
export interface Answered {
  readonly exchanges: number;
  readonly ofUsers: number;
}

/** The two doors of the service behind every subject: small answers and files, or the swallower of uploads. */
export type Door = 'bench' | 'sink';

/** Connections that last, or one for each request, with a full handshake. */
export type Connections = 'kept' | 'new';

/** One gateway of a pair. The root of a process tree, whose CPU time is what counts. */
export interface Gateway {
  readonly role: 'near' | 'far';
  readonly pid: number;
  /** What it has counted so far, of one that signs and records. */
  readonly counted?: () => Promise<Counted>;
}

/** The outcome of one check that the whole run depends on. */
export interface Gate {
  readonly name: string;
  readonly passed: boolean;
  readonly detail: string;
}

/** A way from the client to the service, running. */
export interface Subject {
  readonly name: string;
  /** Empty when there is nothing in between. */
  readonly gateways: readonly Gateway[];
  readonly target: (door: Door, path: string) => Target;
  /** Where a user's small requests go: over mutual TLS from another machine, with an assertion good for a minute at least. */
  readonly userTarget: (connections: Connections) => Promise<Target>;
  /** Versions, cipher suite: what explains a figure. */
  readonly context: Readonly<Record<string, string>>;
  /** Harmless when it was stopped before. */
  stop(): Promise<void>;
  /** Once stopped: did it do all of its duties? */
  audit(answered: Answered): Promise<readonly Gate[]>;
}

export interface SubjectKind {
  readonly name: string;
  /** Why it cannot run on this machine, or undefined when it can. */
  missing(): string | undefined;
  start(lab: Lab): Promise<Subject>;
  /** What one more of the kind does when somebody on the way changes what it carries, of a kind that promises something then. */
  attack?(lab: Lab): Promise<readonly Gate[]>;
}
