import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  SoftwarePasskey,
  type EnrolmentOptions,
  type KeptPasskey,
  type SignInOptions,
} from '../idp/authenticator.ts';
import { ACR, type Acr } from '../idp/levels.ts';
import { Browser } from './browser.ts';
import { beginSignIn, codeOf, redeem, SignInFailed, type RelyingParty, type Wish } from './relying-party.ts';
import type { DpopKey } from './dpop.ts';

/** The two authenticators in a scripted person's pocket. */
interface Pocket {
  readonly hardware: KeptPasskey;
  readonly synced: KeptPasskey;
}

const MAX_STEPS = 12;

/**
 * Somebody who signs in without a browser: walks through the same pages, redirects and cookies, and answers the same
 * challenges with passkeys in software, which are kept in a file.
 */
export class ScriptedPerson {
  readonly #login: string;
  readonly #file: string;
  readonly #idp: { readonly issuer: string; readonly ca: string };

  constructor(login: string, file: string, idp: { readonly issuer: string; readonly ca: string }) {
    this.#login = login;
    this.#file = file;
    this.#idp = idp;
  }

  /**
   * @param acr what to ask for, and which authenticator to use
   * @param ageSeconds how long ago the sign-in shall have been; the sandbox's provider takes our word for that
   * @returns the assertion
   */
  async signIn(
    party: RelyingParty,
    { acr, ...wish }: Omit<Wish, 'acr'> & { readonly acr: Acr },
    { key, ageSeconds = 0 }: { readonly key?: DpopKey | undefined; readonly ageSeconds?: number } = {},
  ): Promise<string> {
    const pocket = await this.#pocket();
    const pending = beginSignIn(party, { ...wish, acr });
    const browser = new Browser(this.#idp.ca);
    let at = `${this.#idp.issuer}/auth?${pending.query}`;
    for (let step = 0; step < MAX_STEPS; step++) {
      if (at.startsWith(`${party.redirectUri}?`)) {
        const { assertion } = await redeem(party, pending, codeOf(party, pending, at), key);
        return assertion;
      }
      if (new URL(at).pathname.startsWith('/interaction/')) {
        const options = await browser.post(`${at}/options`, {});
        const passkey = SoftwarePasskey.from(acr === ACR.aal3 ? pocket.hardware : pocket.synced);
        const response = passkey.signIn(
          options as unknown as SignInOptions, // from the provider we trust
          this.#idp.issuer,
          acr !== ACR.aal1,
        );
        at = String((await browser.post(`${at}/finish`, { response, ageSeconds }))['next']);
      } else {
        at = await browser.follow(at);
      }
    }
    throw new SignInFailed('the provider sends us around in circles');
  }

  /** The authenticators; new ones are enrolled first, as a person would do it. */
  async #pocket(): Promise<Pocket> {
    const text = await readFile(this.#file, 'utf8').catch(() => undefined);
    if (text !== undefined) return JSON.parse(text) as Pocket; // our own file
    const browser = new Browser(this.#idp.ca);
    const { issuer } = this.#idp;
    const enrol = async (synced: boolean): Promise<KeptPasskey> => {
      const passkey = SoftwarePasskey.create(synced);
      const login = this.#login;
      const options = await browser.post(`${issuer}/enrol/options`, { login });
      const response = passkey.register(
        options as unknown as EnrolmentOptions, // from the provider we trust
        issuer,
      );
      await browser.post(`${issuer}/enrol/finish`, { login, response });
      return passkey.kept;
    };
    const pocket: Pocket = { hardware: await enrol(false), synced: await enrol(true) };
    await mkdir(dirname(this.#file), { recursive: true, mode: 0o700 });
    await writeFile(this.#file, JSON.stringify(pocket, null, 2), { mode: 0o600 });
    return pocket;
  }
}
