import type { IncomingMessage } from 'node:http';
import { rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { AttestedClient, type AttestedClientOptions, type Presenter } from '../../attest/attested-client.ts';
import { agentPresenter, deviceField } from '../../attest/device-presenter.ts';
import { sha256 } from '../../core/bytes.ts';
import type { Break, BreakReport, Observed } from './breaks.ts';
import { relabelledStart } from './firmware.ts';
import type { Machine } from './machine.ts';

/** Demands an attested machine and nothing else. */
const SERVICE = '/r1/TW/GOV/B07/housing/attested/echo/intruder';
const CLIENT = 'TW/GOV/A11/welfare';
const POLL_MS = 200;
/** Longer than any result lives. */
const PATIENCE_MS = 35_000;

type Connection = Omit<AttestedClientOptions, 'present'>;

/** Somebody who has got hold of the machine of A's information system: its files, its TLS key, or all of it. */
export class Intruder {
  readonly #machine: Machine;
  readonly #connection: Connection;
  readonly #loot: { readonly dir: string; readonly socket: string };
  #clone: Machine | undefined;
  #busy: Promise<unknown> = Promise.resolve();

  /** @param loot where he keeps what he copies */
  constructor(
    machine: Machine,
    connection: Connection,
    loot: { readonly dir: string; readonly socket: string },
  ) {
    this.#machine = machine;
    this.#connection = connection;
    this.#loot = loot;
  }

  /** One after the other: each begins with a machine that works. */
  play(what: Break): Promise<BreakReport> {
    return this.#inTurn(() => this.#play(what));
  }

  /** The machine is started anew, as it was installed; a copy of it is switched off. */
  heal(): Promise<BreakReport> {
    return this.#inTurn(async () => {
      await this.#dropClone();
      const did: string[] = [];
      // Behind a copy that was started more often, it has to catch up before it is believed again.
      for (let starts = 1; starts <= 3; starts++) {
        await this.#machine.restart();
        did.push('started the machine anew, from what was installed');
        if (this.#machine.status?.result === 'current') break;
      }
      const watch = this.#watch(this.#honest());
      try {
        const observed = await watch.until(({ status }) => status === 200);
        return report('heal', did, 'the service answers again: 200', [observed], observed.status === 200);
      } finally {
        watch.close();
      }
    });
  }

  /** Not his doing: its owner has it enrolled again. @throws AttestorRefused */
  reEnrol(): Promise<void> {
    return this.#inTurn(() => this.#machine.reEnrol());
  }

  async stop(): Promise<void> {
    await this.#dropClone();
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#busy.then(run);
    this.#busy = turn.catch(() => undefined);
    return turn;
  }

  async #play(what: Break): Promise<BreakReport> {
    const watch = this.#watch(what === 'relayed-result' ? this.#honest() : this.#insisting());
    try {
      const before = await watch.ask();
      if (before.status !== 200) {
        const why = `${what}: the machine is refused already (${before.status} ${before.code ?? ''})`;
        return report(what, [`${why}: heal it first`], 'a machine that works', [before], false);
      }
      watch.begin();
      switch (what) {
        case 'extend-pcr': {
          await this.#machine.measure(4, sha256('bootkit'));
          const refused = await watch.until(({ status }) => status !== 200);
          return report(
            what,
            [
              'extended PCR 4 of the running machine, as a boot kit that is loaded late does',
              'went on showing the last good result, on the connection that it was bound to',
            ],
            'at the next renewal the log does not lead to the quoted PCRs: no new result, and the last one is taken back',
            [before, refused],
            refused.code === 'device.revoked',
          );
        }
        case 'stale-result': {
          await this.#machine.silence();
          const refused = await watch.until(({ status }) => status !== 200);
          return report(
            what,
            ['ended the agent, so that nothing is appraised any more', 'went on showing its last result'],
            'the result ends with its lifetime, without grace',
            [before, refused],
            refused.code === 'device.expired',
          );
        }
        case 'cloned-tpm': {
          await this.#cloned();
          const refused = await watch.until(({ status }) => status !== 200);
          return report(
            what,
            [
              "copied the TPM's memory and the agent's files, started the copy elsewhere, and had it attested",
              'let the original go on',
            ],
            'one of the two is behind in starts: it is refused with an alert, and what the pair had is taken back',
            [before, refused],
            refused.code === 'device.revoked',
          );
        }
        case 'relabelled-log': {
          await this.#machine.restart(relabelledStart());
          const honest = this.#watch(this.#honest());
          const refused = await honest.until(({ status }) => status !== 200).finally(() => honest.close());
          return report(
            what,
            [
              'started the machine without Secure Boot',
              'gave those measurements another type in the log, extended those of a healthy start behind them, and appended them to the log',
            ],
            'types and data of a log prove nothing: the digests, in their order, are not those of the policy',
            [before, refused],
            refused.code === 'device.insufficient',
          );
        }
        case 'relayed-result':
          return await this.#relay(before);
      }
    } finally {
      watch.close();
    }
  }

  /** He has the TLS key, too: all but the TPM. */
  async #relay(before: Observed): Promise<BreakReport> {
    let shown: string | undefined;
    const victim = this.#watch(async (connection) => (shown = await this.#honest()(connection)));
    const began = await victim.ask().finally(() => victim.close());
    const thief = this.#watch(() => Promise.resolve(shown));
    const relayed = await thief.ask().finally(() => thief.close());
    const bare = this.#watch(() => Promise.resolve(shown?.replace(/, binding=.*/, '')));
    const unbound = await bare.ask().finally(() => bare.close());
    return report(
      'relayed-result',
      [
        "copied result and signature from a connection of the machine, and its TLS key, to another's",
        'showed both there; then the result alone',
      ],
      'the signature is over another connection (device.binding); without one, the result is worth too little',
      [before, began, relayed, unbound],
      began.status === 200 && relayed.code === 'device.binding' && unbound.status === 403,
    );
  }

  async #cloned(): Promise<void> {
    const clone = await this.#machine.clone(this.#loot.dir, this.#loot.socket);
    this.#clone = clone;
    await clone.powerOn(undefined);
    await clone.serve();
  }

  async #dropClone(): Promise<void> {
    const clone = this.#clone;
    this.#clone = undefined;
    await clone?.stop();
    await rm(this.#loot.dir, { recursive: true, force: true });
  }

  #honest(): Presenter {
    return agentPresenter(
      this.#machine.socket,
      () => performance.now(),
      () => undefined,
    );
  }

  /** Shows for ever what the agent has now; the TPM is at his service for every connection. */
  #insisting(): Presenter {
    const { result } = this.#machine;
    const bindings = new WeakMap<object, string>();
    return async ({ exporter, id }) => {
      if (result === undefined) return undefined;
      const binding = bindings.get(id) ?? (await this.#machine.bind(exporter));
      bindings.set(id, binding);
      return deviceField({ result, binding });
    };
  }

  #watch(present: Presenter): Watch {
    return new Watch(new AttestedClient({ ...this.#connection, present, maxConnections: 1 }));
  }
}

/** One connection, and the answers to the same question over it. */
class Watch {
  readonly #client: AttestedClient;
  #began = performance.now();

  constructor(client: AttestedClient) {
    this.#client = client;
  }

  /** Seconds count from now. */
  begin(): void {
    this.#began = performance.now();
  }

  async ask(): Promise<Observed> {
    const asked = {
      method: 'GET',
      path: SERVICE,
      headers: { 'x-road-client': CLIENT, accept: 'application/problem+json' },
    };
    const request = await this.#client.open(asked);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once('error', reject);
      request.once('response', resolve);
      request.end();
    });
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    const seconds = Math.round(performance.now() - this.#began) / 1000;
    const status = response.statusCode ?? 0;
    return { seconds, status, code: status === 200 ? null : codeOf(Buffer.concat(chunks)) };
  }

  /** Asks until the answer is so, or for as long as a result can live. */
  async until(isIt: (answer: Observed) => boolean): Promise<Observed> {
    for (;;) {
      // A gateway that closes the connection has answered, too: the next one says why.
      const answer = await this.ask().catch((cause: unknown) => cause);
      const last = performance.now() - this.#began > PATIENCE_MS;
      if (!(answer instanceof Error) && (last || isIt(answer as Observed))) return answer as Observed;
      if (last) throw answer;
      await pause(POLL_MS);
    }
  }

  close(): void {
    this.#client.close();
  }
}

function codeOf(body: Buffer): string {
  try {
    const { code } = JSON.parse(body.toString('utf8')) as { code?: unknown };
    return typeof code === 'string' ? code : 'unknown';
  } catch {
    return 'unknown'; // something in between answered
  }
}

const report = (
  what: BreakReport['what'],
  did: readonly string[],
  expected: string,
  observed: readonly Observed[],
  asExpected: boolean,
): BreakReport => ({ what, did, expected, observed, asExpected });
