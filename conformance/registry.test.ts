// An instance that nobody but its operators made, with the commands they have: registry, init, run.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { initGateway } from '../gateway/commands/init/init.ts';
import { withRevoked, withRows, type Kind } from '../gateway/commands/registry/draft.ts';
import { RegistryFolder } from '../gateway/commands/registry/folder.ts';
import { ask, type Answer } from '../gateway/sandbox/client/http.ts';
import { PortBlock } from '../gateway/sandbox/ports.ts';
import { ServiceProcess } from '../gateway/sandbox/service-process.ts';
import { LogTail } from './harness/log-tail.ts';
import { PLAIN_NODE } from './harness/plain-node.ts';

const cli = join(import.meta.dirname, '..', 'gateway', 'cli.ts');
const dir = t.testdir();
const ports = await PortBlock.claim();

interface Side {
  readonly name: string;
  readonly member: string;
  readonly dir: string;
  readonly http: number;
  readonly link: number;
}
const side = (code: string): Side => ({
  name: `gw.${code}.tw.troad.example`,
  member: `TW/GOV/${code.toUpperCase()}`,
  dir: join(dir, code),
  http: ports.take(),
  link: ports.take(),
});
const [a, b] = [side('a11'), side('b07')];

/** What an operator writes into the file that init made. */
function configure({ dir: folder, http, link, member }: Side, services: string): void {
  const file = join(folder, 'gateway.yaml');
  let text = readFileSync(file, 'utf8');
  const replace = (from: RegExp, to: string): void => {
    if (!from.test(text)) throw new Error(`nothing to replace: ${String(from)}`);
    text = text.replace(from, to);
  };
  replace(/^ {4}port: 8080$/m, `    port: ${http}`);
  replace(/^ {2}host: 0\.0\.0\.0\n {2}port: \d+$/m, `  host: 127.0.0.1\n  port: ${link}`);
  replace(/^ {2}port: 5580$/m, `  port: ${ports.take()}`);
  replace(/^ {2}#reloadSeconds: 30$/m, '  reloadSeconds: 1');
  replace(/^subsystems: \[\]$/m, `subsystems: [{ id: ${member}/welfare, access: loopback }]`);
  replace(/^services: \[\]$/m, `services: ${services}`);
  writeFileSync(file, text);
}

async function until(what: string, met: (answer: Answer) => boolean, path: string): Promise<Answer> {
  for (const end = Date.now() + 60_000; ; await delay(100)) {
    const answer = await ask(`http://127.0.0.1:${a.http}/r1/TW/GOV/B07/welfare/v1/${path}`, {
      headers: { 'x-road-client': `${a.member}/welfare` },
    });
    if (met(answer)) return answer;
    if (Date.now() > end) throw new Error(`${what}: ${answer.status} ${answer.body}`);
  }
}

/** As an operator brings it: whole or not at all. */
function distribute(registry: RegistryFolder): void {
  for (const { dir: folder } of [a, b]) {
    copyFileSync(join(registry.dir, 'registry.json'), join(folder, 'registry.json.new'));
    renameSync(join(folder, 'registry.json.new'), join(folder, 'registry.json'));
  }
}

let service: Server | undefined;
const processes: ServiceProcess[] = [];

function start({ name, dir: folder }: Side): ServiceProcess {
  const started = new ServiceProcess({
    name,
    run: [...PLAIN_NODE, cli, 'run', '--config', join(folder, 'gateway.yaml')],
    isStarted: (line) => line.includes('"gateway.started"'),
    onLine: () => undefined,
  });
  processes.push(started);
  return started;
}

void t.test(
  'made by its operators: an exchange is carried, until the registry revokes a gateway',
  async (t) => {
    const registry = await RegistryFolder.create(join(dir, 'registry'), 'TW', Date.now);
    const add = async (kind: Kind, rows: unknown): Promise<void> =>
      registry.save(withRows(registry.draft, kind, rows, false));
    const answering = createServer((_, response) => response.end('here'));
    service = answering.listen(0, '127.0.0.1');
    await new Promise((resolve) => answering.once('listening', resolve));
    const { port } = answering.address() as AddressInfo; // listens on a port

    for (const each of [a, b]) {
      await initGateway({ ...each, address: `127.0.0.1:${each.link}` });
      await add('members', { id: each.member, name: { en: each.member, zh: each.member } });
      await add('gateways', JSON.parse(readFileSync(join(each.dir, 'gateway.json'), 'utf8')));
      await add('subsystems', { id: `${each.member}/welfare`, gateway: each.name });
      const { chainPem } = await registry.certify(
        each.name,
        readFileSync(join(each.dir, 'link.csr'), 'utf8'),
      );
      writeFileSync(join(each.dir, 'link.pem'), chainPem);
      for (const file of ['ca.pem', 'registry-root.pem'])
        copyFileSync(join(registry.dir, file), join(each.dir, file));
    }
    await add('services', { id: `${b.member}/welfare/v1`, title: { en: 'v1', zh: '一' }, type: 'REST' });
    await registry.sign(30, []);
    distribute(registry);
    configure(a, '[]');
    configure(b, `[{ id: ${b.member}/welfare/v1, url: 'http://127.0.0.1:${port}' }]`);
    for (const each of [b, a]) await start(each).ready;
    t.not((await until('an answer', () => true, 'x')).status, 200, 'nobody agreed to anything yet');

    const agreement = {
      id: 'TW-1',
      consumer: `${a.member}/welfare`,
      service: `${b.member}/welfare/v1`,
      methods: ['GET'],
      paths: ['**'],
      fromMs: Date.now() - 60_000,
      untilMs: Date.now() + 86_400_000,
      enabledByProvider: true,
      enabledByConsumer: true,
      assertion: 'none',
      device: 'none',
    };
    await add('agreements', agreement);
    const { changes } = await registry.sign(30, []);
    t.strictSame(changes, ['+ agreements TW-1']);
    distribute(registry);
    t.equal((await until('carried', ({ status }) => status === 200, 'y')).body, 'here');

    await registry.save(withRevoked(registry.draft, b.name));
    await registry.sign(30, []);
    distribute(registry);
    // An exchange that is under way while the lists change is refused too, for its signature.
    const refusal = 'The other gateway is not the one the registry names.';
    const refused = await until('refused', ({ body }) => body.includes(refusal), 'z');
    t.equal(refused.status, 502);
  },
);

void t.test('a gateway that is ended as soon as it says that it started seals its log', async (t) => {
  await Promise.all(processes.map((each) => each.stop()));
  const again = start(a);
  await again.ready;
  await t.resolves(again.stop(), 'exit status 0');
  const records = await new LogTail(join(a.dir, 'log')).records();
  t.equal(records.at(-1)?.k, 'seal');
});

void t.test('stop', async (t) => {
  await Promise.all(processes.map((each) => each.stop()));
  service?.close();
  await ports.release();
  t.end();
});
