import { createPrivateKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import type { DpopKey, Proof } from '../sandbox/client/dpop.ts';
import type { RelyingParty } from '../sandbox/client/relying-party.ts';
import type { Acr } from '../sandbox/idp/levels.ts';
import { readReady } from './sandbox-ready.ts';

interface Options {
  readonly dir: string;
  readonly subject: string;
  readonly acr: string;
  readonly age: number;
  readonly encrypt?: true;
  readonly certificate?: true;
  readonly dpopKey?: string;
  readonly dpopProof?: readonly string[];
  readonly dpopNonce?: string;
  readonly assertion?: string;
  readonly headers?: true;
  readonly revoke?: true | string;
}

/** `troad sandbox assertion`: somebody signs in at the running sandbox; the assertion goes to standard output. */
export function registerSandboxAssertion(sandbox: Command): void {
  sandbox
    .command('assertion')
    .description(
      'sign somebody in at a running sandbox and print the assertion (the sandbox is that of --dir)',
    )
    .option('--subject <subject>', 'who signs in: lin.meihua, chen.zhiming or wang.yating', 'lin.meihua')
    .option('--acr <acr>', 'how well: aal1, aal2 or aal3', 'aal2')
    .option('--age <age>', 'how long ago: 90, 90s, 20m or 13h', seconds, 0)
    .option('--encrypt', "encrypt it to the gateway's key (FAL2)")
    .option(
      '--dpop-key <file>',
      'bind it to the P-256 key in this PEM file; a new key is written when there is none',
    )
    .option(
      '--certificate',
      "bind it to the information system's client certificate (agencies/a11/client.pem)",
    )
    .option('--dpop-proof <method-url...>', 'print a proof for a request instead: METHOD URL')
    .option('--assertion <text>', 'assertion that the proof goes with; without it a new one is made')
    .option('--dpop-nonce <nonce>', 'what the gateway gave in DPoP-Nonce; without it the gateway is asked')
    .option('--headers', 'print header lines for `curl -H @-`: the assertion, and the proof if there is one')
    .option(
      '--revoke [type]',
      'end all sessions of the subject instead, and say how soon the gateways had; for session-revoked, credential-change or device-compliance-change',
    )
    .action(async (_: unknown, command: Command) => {
      // --dir belongs to `troad sandbox`, which reads it wherever it stands.
      process.stdout.write(`${(await run(command.optsWithGlobals())).join('\n')}\n`);
    });
}

/** @returns lines to print */
async function run(options: Options): Promise<string[]> {
  const { dpopKey, dpopProof, headers, revoke: why } = options;
  if (why !== undefined) return revoke(options, why === true ? 'session-revoked' : why);
  const key = dpopKey === undefined ? undefined : await openKey(dpopKey);
  if (dpopProof === undefined) {
    const assertion = options.assertion ?? (await signIn(options, key));
    return [headers === true ? `T-Road-Assertion: ${assertion}` : assertion];
  }
  const [method, url, ...rest] = dpopProof;
  if (key === undefined || method === undefined || url === undefined || rest.length > 0 || !URL.canParse(url))
    throw new Error('--dpop-proof needs METHOD, URL and --dpop-key');
  const assertion = options.assertion ?? (await signIn(options, key));
  const nonce = options.dpopNonce ?? (await askForNonce({ method, url, assertion }, key, options.dir));
  const proof = key.proof({ method, url, assertion, nonce });
  return headers === true ? [`T-Road-Assertion: ${assertion}`, `DPoP: ${proof}`] : [proof];
}

async function signIn(
  { dir, subject, acr, age, encrypt, certificate }: Options,
  key: DpopKey | undefined,
): Promise<string> {
  const [{ ScriptedPerson }, { ACR }, { personOf }, { CLIENT_ID, SCRIPT_REDIRECT }] = await Promise.all([
    import('../sandbox/client/scripted-person.ts'),
    import('../sandbox/idp/levels.ts'),
    import('../sandbox/idp/people.ts'),
    import('../sandbox/agency-idp.ts'),
  ]);
  const level: Acr | undefined = Object.entries(ACR).find((entry) => entry.includes(acr))?.[1];
  if (level === undefined) throw new Error(`--acr ${acr}: expected ${Object.keys(ACR).join(', ')}`);
  const someone = personOf(subject);
  if (someone === undefined) throw new Error(`--subject ${subject}: nobody of that name can sign in`);
  if (certificate === true && key !== undefined) throw new Error('--certificate and --dpop-key: choose one');
  const { identity, consumer } = await readReady(dir);
  if (identity === undefined) throw new Error('this sandbox has no identity provider');
  const ca = await readFile(identity.ca, 'utf8');
  const pocket = join(resolve(dir), 'agencies', 'a11-people', `${someone.login}.json`);
  const person = new ScriptedPerson(someone.login, pocket, { issuer: identity.issuer, ca });
  const party: RelyingParty = {
    issuer: identity.issuer,
    ca,
    clientId: certificate === true ? CLIENT_ID.certificate : CLIENT_ID.open,
    redirectUri: SCRIPT_REDIRECT,
    ...(certificate === true && {
      certificate: {
        cert: await readFile(consumer.clientCert, 'utf8'),
        key: await readFile(consumer.clientKey, 'utf8'),
      },
    }),
  };
  const resource = encrypt === true ? identity.sealedResource : identity.resource;
  return person.signIn(party, { acr: level, resource }, { key, ageSeconds: age });
}

/** The identity provider ends the sessions, and tells both gateways by shared signals. @returns lines to print */
async function revoke({ dir, subject }: Options, type: string): Promise<string[]> {
  const { endSessions, outcomeOf } = await import('../sandbox/client/sign-out.ts');
  const { identity } = await readReady(dir);
  if (identity === undefined) throw new Error('this sandbox has no identity provider');
  const told = await endSessions(
    { issuer: identity.issuer, ca: await readFile(identity.ca, 'utf8') },
    subject,
    type,
  );
  return told.map(outcomeOf);
}

/** A key to prove possession of: read, or made when there is none yet. */
async function openKey(file: string): Promise<DpopKey> {
  const [{ DpopKey: Key }, { generateKeyPair, writePrivateKey }] = await Promise.all([
    import('../sandbox/client/dpop.ts'),
    import('../../pki/keys.ts'),
  ]);
  const pem = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') throw cause;
    return undefined;
  });
  if (pem !== undefined) return new Key(createPrivateKey(pem), Date.now);
  const { privateKey } = generateKeyPair('p256');
  await writePrivateKey(file, privateKey);
  return new Key(privateKey, Date.now);
}

/** Sends the request as a client does the first time, with a proof that has no nonce yet; it is refused, and told one. */
async function askForNonce(
  { method, url, assertion }: Omit<Proof, 'nonce'>,
  key: DpopKey,
  dir: string,
): Promise<string | undefined> {
  const { ask } = await import('../sandbox/client/http.ts');
  const { consumer } = await readReady(dir);
  const answer = await ask(url, {
    method,
    ca: await readFile(consumer.ca, 'utf8'),
    headers: {
      'x-road-client': 'TW/GOV/A11/welfare',
      't-road-assertion': assertion ?? '',
      dpop: key.proof({ method, url, assertion }),
    },
  });
  const nonce = answer.headers['dpop-nonce'];
  return typeof nonce === 'string' ? nonce : undefined;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 };

function seconds(text: string): number {
  const [, number, unit = ''] = /^(\d{1,7})([smhd]?)$/.exec(text) ?? [];
  const factor = UNITS[unit];
  if (number === undefined || factor === undefined)
    throw new InvalidArgumentError('Expected 90, 90s, 20m or 13h');
  return Number(number) * factor;
}
