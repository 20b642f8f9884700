import t from 'tap';
import { startSandbox } from '../harness/sandbox.ts';
import { chromiumMissing, openBrowser, VirtualAuthenticators } from './chromium.ts';

void t.test(
  'passkey sign-in in a browser, up to the answer of a service',
  { skip: chromiumMissing },
  async (t) => {
    const dir = t.testdir({ sandbox: {}, profile: {} });
    const sandbox = await startSandbox(`${dir}/sandbox`);
    t.teardown(() => sandbox.stop());
    const { identity } = sandbox.ready;
    if (identity === undefined) throw new Error('the identity provider is not installed');
    const browser = await openBrowser(`${dir}/profile`);
    t.teardown(() => browser.close());
    browser.setDefaultTimeout(15_000);
    const page = await browser.newPage();
    const complaints: string[] = [];
    page.on('console', (message) => {
      // A refusal is a 4xx answer, and Chromium tells of each.
      if (!message.text().startsWith('Failed to load resource')) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    const authenticators = await VirtualAuthenticators.of(page);
    const signIn = page.getByRole('button', { name: 'Use a passkey' });
    const enrol = async (name: string): Promise<void> => {
      await page.goto(identity.enrol);
      await page.getByLabel(name).check();
      await page.getByRole('button', { name: 'Enrol' }).click();
      await page.getByText('Enrolled').waitFor();
    };
    const status = (): Promise<string | null> => page.locator('#status').textContent();

    const phone = await authenticators.plugIn({ synced: true });
    await enrol('Lin Mei-hua');
    await page.goto(identity.desk);
    await page.getByRole('link', { name: /Housing applications/ }).click();
    t.match(
      await page.locator('main').textContent(),
      /at least at urn:troad:aal2, no longer ago than 28800 s/,
    );
    await signIn.click();
    await page.getByText('T-2026-002').waitFor();
    t.equal(await status(), '200', 'a synced passkey is enough for the cases');

    await page.getByRole('link', { name: 'Back' }).click();
    await page.getByRole('link', { name: /Household register/ }).click();
    t.match(await page.locator('main').textContent(), /at least at urn:troad:aal3/, 'step-up');
    await signIn.click();
    await page.locator('#status').waitFor();
    t.equal(await status(), '401', 'not for the household register');
    t.notMatch(await page.locator('main').textContent(), /H-63-000417/);

    await authenticators.unplug(phone);
    await authenticators.plugIn({ synced: false });
    await enrol('Lin Mei-hua');
    await page.goto(`${identity.desk}/household`);
    await signIn.click();
    await page.getByText('張大同').first().waitFor();
    t.equal(await status(), '200', 'a key that stays in its device is');
    const exchange = (await page.locator('#exchange').textContent()) ?? '';
    t.match(exchange, /^[0-9a-f-]{36}$/);

    await page.reload();
    t.equal(await status(), '200', 'the assertion is good again, with a fresh proof');
    t.same(complaints, [], 'the content security policy and the scripts agree');
  },
);

void t.test('somebody without the PIN does not get in', { skip: chromiumMissing }, async (t) => {
  const dir = t.testdir({ sandbox: {}, profile: {} });
  const sandbox = await startSandbox(`${dir}/sandbox`);
  t.teardown(() => sandbox.stop());
  const { identity } = sandbox.ready;
  if (identity === undefined) throw new Error('the identity provider is not installed');
  const browser = await openBrowser(`${dir}/profile`);
  t.teardown(() => browser.close());
  browser.setDefaultTimeout(15_000);
  const page = await browser.newPage();
  const authenticators = await VirtualAuthenticators.of(page);
  const found = await authenticators.plugIn({ synced: false });
  await page.goto(identity.enrol);
  await page.getByRole('button', { name: 'Enrol' }).click();
  await page.getByText('Enrolled').waitFor();
  await authenticators.forgetPin(found);
  await page.goto(`${identity.desk}/household`);
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await page.locator('#outcome.failed').waitFor();
  t.match(page.url(), /\/interaction\//, 'still at the door');
});
