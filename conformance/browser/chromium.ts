import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium, type BrowserContext, type CDPSession, type Page } from 'playwright-core';

const found = (process.env['PATH'] ?? '')
  .split(delimiter)
  .map((dir) => join(dir, 'chromium'))
  .find((path) => existsSync(path));

/** Why tests with a browser cannot run here, or false. */
export const chromiumMissing: string | false =
  found === undefined && 'no Chromium: as root, node .ci/setup.mjs --debian browser';

/** A browser of its own, without anything left from before and without a word to anybody outside. */
export async function openBrowser(emptyDir: string): Promise<BrowserContext> {
  if (found === undefined) throw new Error('chromiumMissing says so'); // tests are skipped then
  return chromium.launchPersistentContext(emptyDir, {
    executablePath: found,
    headless: true,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

export interface AuthenticatorOptions {
  /** Whether its keys may be copied to other devices. */
  readonly synced: boolean;
}

/** The authenticators of a page: Chromium answers WebAuthn itself, with real keys (WebAuthn Level 3 §11). */
export class VirtualAuthenticators {
  readonly #cdp: CDPSession;

  private constructor(cdp: CDPSession) {
    this.#cdp = cdp;
  }

  static async of(page: Page): Promise<VirtualAuthenticators> {
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('WebAuthn.enable');
    return new VirtualAuthenticators(cdp);
  }

  /** @returns its id */
  async plugIn({ synced }: AuthenticatorOptions): Promise<string> {
    const { authenticatorId } = await this.#cdp.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2',
        transport: synced ? 'internal' : 'usb',
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
        defaultBackupEligibility: synced,
        defaultBackupState: synced,
      },
    });
    return authenticatorId;
  }

  async unplug(authenticatorId: string): Promise<void> {
    await this.#cdp.send('WebAuthn.removeVirtualAuthenticator', { authenticatorId });
  }

  /** Somebody who holds it, but does not know the PIN. */
  async forgetPin(authenticatorId: string): Promise<void> {
    await this.#cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false });
  }
}
