import type { Acr } from './levels.ts';
import { PEOPLE, type Person } from './people.ts';

/** Text from outside never becomes markup. */
export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** One page. No inline script or style: the content security policy of the sandbox allows none. */
export const page = (title: string, body: string, script = false): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<link rel="stylesheet" href="/style.css">
${script ? '<script type="module" src="/passkey.js"></script>' : ''}
<main>
<h1>${escapeHtml(title)}</h1>
${body}
</main>
</html>
`;

export const enrolPage = (): string =>
  page(
    'Enrol a passkey 註冊通行金鑰',
    `<p>Agency A's identity provider, in a sandbox. These people are invented; anybody on this machine can be one of them.</p>
<form id="enrol">
${PEOPLE.map(personRow).join('\n')}
<button type="submit">Enrol</button>
</form>
<p id="outcome" role="status"></p>`,
    true,
  );

const personRow = ({ login, name, zh, role }: Person, index: number): string =>
  `<label><input type="radio" name="login" value="${login}"${index === 0 ? ' checked' : ''}> ${zh} ${name}, ${role}</label>`;

export const signInPage = (
  client: string,
  least: Acr | undefined,
  maxAgeSeconds: number | undefined,
): string =>
  page(
    'Sign in 登入',
    `<p><strong>${escapeHtml(client)}</strong> asks who you are${least === undefined ? '' : `, at least at <code>${least}</code>`}${maxAgeSeconds === undefined ? '' : `, no longer ago than ${maxAgeSeconds} s`}.</p>
<button id="sign-in">Use a passkey 使用通行金鑰</button>
<p id="outcome" role="status"></p>
<p><a href="/enrol">No passkey yet?</a></p>`,
    true,
  );

export const STYLE = `body { font: 16px/1.5 system-ui, sans-serif; color: #1a2b3c; background: #f4f6f8; }
main { max-width: 42rem; margin: 3rem auto; padding: 1rem 2rem 2rem; background: #fff; border-radius: .5rem; }
label { display: block; padding: .25rem 0; }
button, .button { display: inline-block; font: inherit; margin: .75rem .5rem 0 0; padding: .5rem 1rem; border: 0;
  border-radius: .25rem; background: #06703a; color: #fff; text-decoration: none; cursor: pointer; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #dde; vertical-align: top; }
code, pre { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
[role=status] { min-height: 1.5em; color: #06703a; }
[role=status].failed { color: #b00; }
`;

/** The browser's half of WebAuthn: asks for options, lets the authenticator answer, sends the answer back. */
export const SCRIPT = `const outcome = document.querySelector('#outcome');
async function post(path, body) {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}
async function attempt(work) {
  outcome.textContent = '';
  outcome.className = '';
  try {
    await work();
  } catch (error) {
    outcome.textContent = error.message;
    outcome.className = 'failed';
  }
}
document.querySelector('#sign-in')?.addEventListener('click', () => attempt(async () => {
  const options = await post(location.pathname + '/options', {});
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  const credential = await navigator.credentials.get({ publicKey });
  const { next } = await post(location.pathname + '/finish', { response: credential.toJSON() });
  location.assign(next);
}));
document.querySelector('#enrol')?.addEventListener('submit', (event) => {
  event.preventDefault();
  const login = new FormData(event.target).get('login');
  attempt(async () => {
    const options = await post('/enrol/options', { login });
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
    const credential = await navigator.credentials.create({ publicKey });
    await post('/enrol/finish', { login, response: credential.toJSON() });
    outcome.textContent = 'Enrolled ' + login;
  });
});
`;
