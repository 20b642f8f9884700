import { createPublicKey, type KeyObject } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { draftPolicy } from '../../attest/policy.ts';
import { base64url, sha256 } from '../../core/bytes.ts';
import type { MemberId } from '../../core/ids.ts';
import type { AttestorRow } from '../../registry/document.ts';
import { HASH } from '../../tpm/algorithm.ts';
import { parseEventLog, replay } from '../../tpm/event-log.ts';
import { ServiceProcess } from '../service-process.ts';
import { eventLogOf, QUOTED_PCRS, startOf } from './firmware.ts';

export const ISSUER = 'attest.tw.troad.example';

/** Short, so that a machine that is not what it was is noticed while somebody watches: renewal is at half of it. */
export const RESULT_SECONDS = 12;

export interface AttestationServiceOptions {
  readonly dir: string;
  readonly signingKey: KeyObject;
  readonly port: number;
  readonly adminSocket: string;
  /** Program and arguments before `--config FILE`. */
  readonly run: readonly [program: string, ...args: string[]];
  readonly onLine: (line: string) => void;
}

/** Who is let in without being asked for, by the endorsement key of its TPM. */
export interface Expected {
  readonly ek: string;
  readonly name: string;
  /** Gateways whose hosts they are; of endpoints none. */
  readonly gateway: string | undefined;
}

/** The attestation service of the sandbox: `troad attestor run`, with the files that an operator would write. */
export class AttestationService {
  readonly #options: AttestationServiceOptions;
  constructor(options: AttestationServiceOptions) {
    this.#options = options;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#options.port}`;
  }

  get ca(): string {
    return join(this.#options.dir, 'ca.pem');
  }

  get adminSocket(): string {
    return this.#options.adminSocket;
  }

  /** How the registry introduces it to the gateways. */
  row(members: readonly MemberId[]): AttestorRow {
    const publicKey = createPublicKey(this.#options.signingKey);
    const { kty = '', crv = '', x = '', y = '' } = publicKey.export({ format: 'jwk' });
    const kid = base64url(sha256(publicKey.export({ type: 'spki', format: 'der' })));
    return {
      issuer: ISSUER,
      members,
      classes: ['endpoint', 'node'],
      keys: [{ kid, jwk: { kty, crv, x, y } }],
      maxLifetimeSeconds: RESULT_SECONDS,
      revocations: { url: this.url },
    };
  }

  /** @param roots PEM files of the vendor that makes software TPMs */
  async start(
    roots: { readonly root: string; readonly issuer: string },
    audiences: readonly string[],
    expected: readonly Expected[],
  ): Promise<ServiceProcess> {
    const { dir, port, adminSocket, run, onLine } = this.#options;
    const config = {
      issuer: ISSUER,
      listen: { host: '127.0.0.1', port },
      cert: 'server.pem',
      key: 'server.key',
      signingKey: 'signing.key',
      stateDir: 'state',
      adminSocket,
      policy: 'policy.json',
      trust: {
        roots: [],
        intermediates: [roots.issuer],
        manufacturers: [],
        allowed: [],
        revoked: [],
        // A laboratory: whoever runs these TPMs can read their keys.
        lab_softwareTpmRoots: [roots.root],
      },
      expected: expected.map(({ gateway, ...machine }) =>
        gateway === undefined ? { ...machine, class: 'endpoint' } : { ...machine, class: 'node', gateway },
      ),
    };
    await writeFile(join(dir, 'policy.json'), JSON.stringify(policyOf(audiences), undefined, 2));
    const file = join(dir, 'attestor.json');
    await writeFile(file, JSON.stringify(config, undefined, 2));
    return new ServiceProcess({
      name: 'attestation service',
      run: [...run, '--json', '--config', file],
      isStarted: (line) => line.includes('"adminSocket"'),
      onLine,
      logsToStderr: true,
    });
  }
}

/** Reference values: those of a start of a machine as it was installed, and nothing else. */
function policyOf(audiences: readonly string[]): object {
  const pcrs = replay(parseEventLog(eventLogOf(startOf())), HASH.sha256);
  const selection = { hash: HASH.sha256, pcrs: QUOTED_PCRS };
  return { ...draftPolicy('sandbox', audiences, selection, pcrs), resultSeconds: RESULT_SECONDS };
}
