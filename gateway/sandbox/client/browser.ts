import { ask, type Answer, type Ask } from './http.ts';
import { SignInFailed } from './relying-party.ts';

/** As much of a browser as a sign-in needs: cookies, and redirects one at a time. */
export class Browser {
  readonly #ca: string;
  readonly #cookies = new Map<string, string>();

  constructor(ca: string) {
    this.#ca = ca;
  }

  /** @returns where the page sends us */
  async follow(url: string): Promise<string> {
    const answer = await this.#ask(url, {});
    const { location } = answer.headers;
    if (location === undefined) throw new SignInFailed(`${answer.status} ${answer.body}`);
    return new URL(location, url).href;
  }

  async post(url: string, body: unknown): Promise<Record<string, unknown>> {
    const headers = { 'content-type': 'application/json', origin: new URL(url).origin };
    const answer = await this.#ask(url, { method: 'POST', headers, body: JSON.stringify(body) });
    if (answer.status !== 200) throw new SignInFailed(answer.body);
    return JSON.parse(answer.body) as Record<string, unknown>; // members are checked where they are used
  }

  async #ask(url: string, { headers, ...rest }: Ask): Promise<Answer> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await ask(url, { ...rest, ca: this.#ca, headers: { ...headers, cookie } });
    for (const line of answer.headers['set-cookie'] ?? []) {
      const [pair = ''] = line.split(';', 1);
      const equals = pair.indexOf('=');
      const value = pair.slice(equals + 1);
      if (value === '') this.#cookies.delete(pair.slice(0, equals));
      else this.#cookies.set(pair.slice(0, equals), value);
    }
    return answer;
  }
}
