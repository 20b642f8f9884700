import { setTimeout as pause } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import t from 'tap';
import type { IdentityEnds } from '../../gateway/sandbox/agency-idp.ts';
import { startSandbox } from '../harness/sandbox.ts';
import { chromiumMissing, openBrowser, VirtualAuthenticators } from './chromium.ts';

t.setTimeout(600_000);

interface Lab {
  readonly page: Page;
  readonly authenticators: VirtualAuthenticators;
  readonly identity: IdentityEnds;
}

/** A sandbox, and somebody in front of a browser. Both are gone before the folder is. */
async function inBrowser(dir: string, work: (lab: Lab) => Promise<void>): Promise<void> {
  const sandbox = await startSandbox(`${dir}/sandbox`);
  const browser = await openBrowser(`${dir}/profile`);
  try {
    const { identity } = sandbox.ready;
    if (identity === undefined) throw new Error('the identity provider is not installed');
    browser.setDefaultTimeout(120_000);
    const page = await browser.newPage();
    await work({ page, identity, authenticators: await VirtualAuthenticators.of(page) });
  } finally {
    await browser.close();
    await sandbox.stop();
  }
}

async function enrol({ page, identity }: Lab, name: string): Promise<void> {
  await page.goto(identity.enrol);
  await page.getByLabel(name).check();
  await page.getByRole('button', { name: 'Enrol' }).click();
  await page.getByText('Enrolled').waitFor();
}

/** Two gateways, a provider and a browser start first. */
const REAL = { skip: chromiumMissing, timeout: 600_000 };
const FOLDERS = { sandbox: {}, profile: {} };

void t.test('passkey sign-in, up to the answer of a service', REAL, async (t) => {
  await inBrowser(t.testdir(FOLDERS), async (lab) => {
    const { page, authenticators, identity } = lab;
    const complaints: string[] = [];
    page.on('console', (message) => {
      // A refusal is a 4xx answer, and Chromium tells of each.
      if (!message.text().startsWith('Failed to load resource')) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    const signIn = page.getByRole('button', { name: 'Use a passkey' });
    const status = (): Promise<string | null> => page.locator('#status').textContent();
    const text = async (): Promise<string> => (await page.locator('main').textContent()) ?? '';

    const phone = await authenticators.plugIn({ synced: true });
    await enrol(lab, 'Lin Mei-hua');
    await page.goto(identity.desk);
    await page.getByRole('link', { name: /Housing applications/ }).click();
    t.match(await text(), /at least at urn:troad:aal2, no longer ago than 28800 s/);
    await signIn.click();
    await page.getByText('T-2026-002').waitFor();
    t.equal(await status(), '200', 'a synced passkey is enough for the cases');

    await page.getByRole('link', { name: 'Back' }).click();
    await page.getByRole('link', { name: /Household register/ }).click();
    t.match(await text(), /at least at urn:troad:aal3/, 'step-up');
    await signIn.click();
    await page.locator('#status').waitFor();
    t.equal(await status(), '401', 'but not for the household register');
    t.notMatch(await text(), /H-63-000417/);

    await authenticators.unplug(phone);
    await authenticators.plugIn({ synced: false });
    await enrol(lab, 'Lin Mei-hua');
    await page.goto(`${identity.desk}/household`);
    await signIn.click();
    await page.getByText('張大同').first().waitFor();
    t.equal(await status(), '200', 'a key that stays in its device is');
    t.match(await page.locator('#exchange').textContent(), /^[0-9a-f-]{36}$/);

    await page.reload();
    t.equal(await status(), '200', 'the assertion is good again, with a fresh proof');
    const cookies = await page.context().cookies(identity.desk);
    const desk = cookies.find(({ name }) => name === 'desk')?.value ?? '';
    const elsewhere = await fetch(`${identity.desk}/sign-out`, {
      method: 'POST',
      headers: { cookie: `desk=${desk}`, 'sec-fetch-site': 'same-site' },
    });
    t.equal(elsewhere.status, 403, 'another page cannot sign anybody out');
    await page.getByRole('button', { name: 'Sign out' }).click();
    const told = page.locator('#told');
    await told.waitFor();
    t.match(
      await told.textContent(),
      /gw\.a11\S*: in effect after \d+ ms.*gw\.b07\S*: in effect after \d+ ms/,
      'both gateways know',
    );
    await page.getByRole('link', { name: 'Back' }).click();
    t.equal(await page.getByRole('button', { name: 'Sign out' }).count(), 0);
    await page.goto(`${identity.desk}/household`);
    t.match(page.url(), /\/interaction\//, 'the provider has no session any more');
    await pause(1050 - (Date.now() % 1000)); // an event ends what was authenticated in its very second
    await signIn.click();
    await page.getByText('張大同').first().waitFor();
    t.equal(await status(), '200', 'who signs in again is in');

    t.same(complaints, [], 'the content security policy and the scripts agree');
  });
});

void t.test('somebody who found the key but has no PIN stays out', { skip: chromiumMissing }, async (t) => {
  await inBrowser(t.testdir(FOLDERS), async (lab) => {
    const { page, authenticators, identity } = lab;
    const key = await authenticators.plugIn({ synced: false });
    await enrol(lab, 'Chen Zhi-ming');
    await authenticators.forgetPin(key);
    await page.goto(`${identity.desk}/household`);
    await page.getByRole('button', { name: 'Use a passkey' }).click();
    await page.locator('#outcome.failed').waitFor();
    t.match(page.url(), /\/interaction\//, 'still at the door');
    await page.goto(`${identity.desk}/cases`);
    t.match(page.url(), /\/interaction\//, 'and nowhere else inside');
  });
});
