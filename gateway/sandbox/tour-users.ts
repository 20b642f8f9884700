import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLIENT_ID, SCRIPT_REDIRECT } from './agency-idp.ts';
import { DpopKey } from './client/dpop.ts';
import { GatewayClient, stepUpOf, type Credential } from './client/gateway-client.ts';
import type { Answer } from './client/http.ts';
import { ScriptedPerson } from './client/scripted-person.ts';
import { ACR, LADDER, type Acr } from './idp/levels.ts';
import type { SandboxReady } from './sandbox.ts';
import { TourFailed, type Narrator } from './tour.ts';

const HOUSING = '/r1/TW/GOV/B07/housing';
const CASES = `${HOUSING}/cases`;
const HOUSEHOLD = `${HOUSING}/registry/households/H-63-000417`;

/**
 * The part of the tour with a person in it: Lin Mei-hua, who has a phone with a synced passkey and a security key, both
 * in software.
 * @returns the exchange in which she read the household register
 * @throws TourFailed
 */
export async function takeUserTour(
  { consumer, identity, device }: Pick<SandboxReady, 'consumer' | 'identity' | 'device'>,
  narrator: Narrator,
): Promise<string | undefined> {
  if (identity === undefined) {
    narrator.step('Users: left out, the optional packages of the identity provider are not installed');
    return undefined;
  }
  const ca = await readFile(identity.ca, 'utf8');
  const { issuer, resource, sealedResource } = identity;
  const party = { issuer, ca, clientId: CLIENT_ID.open, redirectUri: SCRIPT_REDIRECT };
  // From an attested machine, where there is one: the household register demands that, too.
  const through =
    device === undefined ? { url: consumer.url } : { url: device.proxy, origin: consumer.tlsUrl };
  const gateway = new GatewayClient({ ...through, client: 'TW/GOV/A11/welfare' });
  const key = DpopKey.create(Date.now);
  const pocket = await mkdtemp(join(tmpdir(), 'troad-tour-'));
  const lin = new ScriptedPerson('lin.meihua', join(pocket, 'lin.json'), { issuer, ca });
  const signIn = async (acr: Acr, bound: boolean): Promise<Credential> => {
    const wish = { acr, resource: bound ? sealedResource : resource };
    return bound
      ? { assertion: await lin.signIn(party, wish, { key }), key }
      : { assertion: await lin.signIn(party, wish) };
  };
  const tell = (what: string, answer: Answer, status: number): Answer => {
    if (answer.status !== status) throw new TourFailed(`${what} answered ${answer.status} ${answer.body}`);
    narrator.line(`${what} → ${status}`);
    return answer;
  };
  try {
    narrator.step('A service that asks who the user is: refused without an assertion');
    const bare = tell(`GET ${CASES}`, await gateway.call('GET', CASES), 401);
    narrator.line(`the gateway asks for: ${String(bare.headers['www-authenticate'])}`);

    narrator.step(
      'Lin Mei-hua touches her passkey, without PIN: too weak; she follows the challenge (RFC 9470)',
    );
    const weak = tell('AAL1', await gateway.call('GET', CASES, await signIn(ACR.aal1, false)), 401);
    const wanted = stepUpOf(weak)?.acr?.split(' ') ?? [];
    const enough = LADDER.find((rung) => wanted.includes(rung));
    narrator.line(`the gateway asks for: ${String(weak.headers['www-authenticate'])}`);
    if (enough === undefined) throw new TourFailed('the challenge names no level');
    const good = await signIn(enough, false);
    const cases = tell(`signed in again with ${enough}`, await gateway.call('GET', CASES, good), 200);
    narrator.line(cases.body.slice(0, 110));

    narrator.step('Somebody copies that assertion and presents it again');
    const replayed = tell('replay', await gateway.call('GET', CASES, good), 401);
    narrator.line(replayed.body);

    narrator.step(
      'The household register wants a hardware key, encryption to the gateway, and proof of possession',
    );
    tell('AAL2', await gateway.call('GET', HOUSEHOLD, await signIn(ACR.aal2, true)), 401);
    const strong = await signIn(ACR.aal3, true);
    const stolen = await gateway.call('GET', HOUSEHOLD, { ...strong, key: DpopKey.create(Date.now) });
    tell('AAL3, but the proof is by the key of a thief', stolen, 401);
    const read = tell('AAL3, with her own key', await gateway.call('GET', HOUSEHOLD, strong), 200);
    narrator.line(`household ${String((JSON.parse(read.body) as { household: unknown }).household)}`);
    return String(read.headers['x-road-request-id']);
  } finally {
    await rm(pocket, { recursive: true, force: true });
  }
}
