import { execFileSync } from 'node:child_process';
import { X509Certificate, createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { ConfigError } from '../core/errors.ts';
import { loadConfig } from './load.ts';
import { bytesOf, configJsonSchema } from './schema.ts';

const minimal = `
node: { name: gw.a11.tw.troad.example, member: TW/GOV/A11, instance: TW }
link: { cert: link.pem, key: link.key, ca: ca.pem }
registry: { file: registry.json, rootKeys: [root.pem] }
keys: { message: { file: message.key }, log: log.key }
log: { dir: log }
policy: { bundle: bundle }
`;
const secrets = ['link.key', 'message.key', 'log.key', 'https.key', 'token'];
const plain = ['link.pem', 'ca.pem', 'registry.json', 'root.pem', 'https.pem'];

/** A folder with every file the examples name, and the configuration. */
function folder(t: Test, yaml: string): string {
  const dir = t.testdir({
    bundle: {},
    'gateway.yaml': yaml,
    ...Object.fromEntries([...secrets, ...plain].map((name) => [name, 'x'])),
  });
  for (const name of secrets) chmodSync(join(dir, name), 0o600);
  return dir;
}

const load = (t: Test, yaml: string) => loadConfig(join(folder(t, yaml), 'gateway.yaml'));

/** What is wrong with the file, without the name of the file, which each problem has. */
function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((problem) => {
      const [, file, what = ''] = /^(\/[^:]*\.yaml): ([^]*)$/.exec(problem) ?? [];
      if (file === undefined) throw new Error(`names no file: ${problem}`, { cause: error });
      return what;
    });
  }
  return [];
}

void t.test('a minimal file gets the documented defaults, absolute paths and a frozen result', async (t) => {
  const dir = folder(t, minimal);
  const config = loadConfig(join(dir, 'gateway.yaml'));
  t.strictSame(config, {
    node: { name: 'gw.a11.tw.troad.example', member: 'TW/GOV/A11', instance: 'TW' },
    workers: 1,
    listen: { hosts: [] },
    link: {
      host: '0.0.0.0',
      port: 5500,
      requireHybrid: false,
      sessionsPerPeer: 2,
      cert: join(dir, 'link.pem'),
      key: join(dir, 'link.key'),
      ca: join(dir, 'ca.pem'),
    },
    admin: { host: '127.0.0.1', port: 5580 },
    registry: { file: join(dir, 'registry.json'), rootKeys: [join(dir, 'root.pem')], reloadMs: 30_000 },
    keys: { message: { file: join(dir, 'message.key') }, log: { file: join(dir, 'log.key') }, assertion: [] },
    log: {
      dir: join(dir, 'log'),
      segmentBytes: 64 * 1024 * 1024,
      origin: 'gw.a11.tw.troad.example/troad-log',
    },
    policy: {
      bundle: join(dir, 'bundle'),
      store: join(dir, 'policies'),
      signers: [],
      threshold: 0,
      shadow: [],
    },
    subsystems: [],
    services: [],
    signals: { poll: [] },
    devices: { retryMs: 2000, feedSilenceMs: 120_000 },
    threatIntel: { files: { kev: [], epss: [], cvss: [] }, maxAgeMs: 172_800_000, reloadMs: 60_000 },
    limits: {
      headMs: 10_000,
      bodyIdleMs: 60_000,
      connectMs: 5000,
      answerMs: 130_000,
      idleConnectionMs: 75_000,
      drainMs: 30_000,
      policyMs: 500,
      maxInFlight: 4096,
      maxConnections: 16_384,
    },
    compat: { errorCodes: 'camel', requestHash: 'whole' },
  });
  t.ok(Object.isFrozen(config.link) && Object.isFrozen(config.registry.rootKeys), 'frozen to the bottom');
});

void t.test('a complete file', async (t) => {
  const sha = 'ab'.repeat(32);
  const config = load(
    t,
    `${minimal}
listen:
  http: { port: 0 }
  https: { host: '::', port: 8443, cert: https.pem, key: https.key }
admin: { host: 10.0.0.1, port: 5581, tokenFile: token }
subsystems:
  - { id: TW/GOV/A11/welfare, access: loopback }
  - { id: TW/GOV/A11/tax, certificates: ['${sha}', '${sha.toUpperCase().match(/../g)?.join(':')}'] }
services:
  - { id: TW/GOV/A11/housing/echo, url: 'http://127.0.0.1:9000/base', maxRequestBytes: 5 MiB, delivery: verified, timeoutSeconds: 1.5 }
  - { id: TW/GOV/A11/housing/files, url: 'https://files.example', ca: ca.pem, maxResponseBytes: 12 }
limits: { headSeconds: 2.5 }
compat: { errorCodes: snake, requestHash: off }
`,
  );
  t.equal(config.listen.http?.host, '127.0.0.1');
  t.equal(config.listen.https?.host, '::');
  t.match(config.admin.tokenFile, /\/token$/);
  t.equal(config.subsystems[1]?.access, 'mtls', 'the strict access is the default');
  t.strictSame(
    config.subsystems[1]?.certificates,
    Array(2).fill(Buffer.from(sha, 'hex').toString('base64url')),
  );
  t.match(config.services[0], {
    timeoutMs: 1500,
    maxRequestBytes: 5_242_880,
    delivery: 'verified',
    maxConcurrent: 256,
  });
  t.match(config.services[1], { maxResponseBytes: 12, maxRequestBytes: 1024 ** 3, ca: /ca\.pem$/ });
  t.equal(config.limits.headMs, 2500);
  t.strictSame(config.compat, { errorCodes: 'snake', requestHash: 'off' });
});

void t.test('a client certificate may be named by its PEM file', async (t) => {
  const dir = folder(
    t,
    `${minimal}
listen: { https: { port: 8443, cert: https.pem, key: https.key } }
subsystems: [{ id: TW/GOV/A11/tax, certificates: [client.pem] }]
`,
  );
  const newCertificate = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    '/CN=client',
  ];
  execFileSync('openssl', [...newCertificate, '-keyout', '/dev/null', '-out', join(dir, 'client.pem')], {
    stdio: 'ignore',
  });
  const der = new X509Certificate(readFileSync(join(dir, 'client.pem'))).raw;
  const config = loadConfig(join(dir, 'gateway.yaml'));
  t.strictSame(config.subsystems[0]?.certificates, [createHash('sha256').update(der).digest('base64url')]);

  const pem = readFileSync(join(dir, 'client.pem'));
  writeFileSync(join(dir, 'client.pem'), Buffer.concat([pem, pem]));
  t.match(
    problemsOf(() => loadConfig(join(dir, 'gateway.yaml'))),
    [/certificates\/0 .*holds 2 PEM certificates/],
  );
});

// One change to the minimal file each: [what, lines added or replaced, every problem expected].
const contradictions: readonly (readonly [what: string, yaml: string, problems: readonly RegExp[]])[] = [
  [
    'an unknown key',
    `${minimal}\nlisten: { htp: { port: 1 } }`,
    [/^\/listen\/htp \(line \d+\): unknown setting$/],
  ],
  ['an unknown key at the top', `${minimal}\nlistn: {}`, [/^\/listn .*unknown setting$/]],
  [
    'workers that would each choose a port',
    `${minimal}\nworkers: 2\nlisten: { http: { port: 0 } }`,
    [/^\/listen\/http\/port .*a port that is named$/],
  ],
  ['no worker', `${minimal}\nworkers: 0`, [/^\/workers /]],
  [
    'plain HTTP off loopback',
    `${minimal}\nlisten: { http: { host: 0.0.0.0, port: 80 } }`,
    [/^\/listen\/http\/host .*loopback/],
  ],
  [
    'a name that only begins like loopback',
    `${minimal}\nlisten: { http: { host: 127.0.0.1.evil.example, port: 80 } }`,
    [/loopback/],
  ],
  ['an open admin listener', `${minimal}\nadmin: { host: 10.0.0.1 }`, [/^\/admin\/host .*tokenFile/]],
  [
    'a foreign subsystem',
    `${minimal}\nlisten: { http: { port: 1 } }\nsubsystems: [{ id: TW/GOV/B07/x, access: loopback }]`,
    [/not a subsystem of TW\/GOV\/A11/],
  ],
  [
    'a foreign service',
    `${minimal}\nservices: [{ id: TW/GOV/B07/x/y, url: 'http://a' }]`,
    [/not a service of TW\/GOV\/A11/],
  ],
  [
    'a service twice',
    `${minimal}\nservices: [{ id: TW/GOV/A11/x/y, url: 'http://a' }, { id: TW/GOV/A11/x/y, url: 'http://b' }]`,
    [/^\/services\/1\/id .*twice/],
  ],
  [
    'a CA for plain HTTP',
    `${minimal}\nservices: [{ id: TW/GOV/A11/x/y, url: 'http://a', ca: ca.pem }]`,
    [/^\/services\/0\/ca .*https/],
  ],
  [
    'mutual TLS without certificates',
    `${minimal}\nlisten: { https: { port: 1, cert: https.pem, key: https.key } }\nsubsystems: [{ id: TW/GOV/A11/x }]`,
    [/certificates .*at least one/],
  ],
  [
    'a listener that is not there',
    `${minimal}\nsubsystems: [{ id: TW/GOV/A11/x, access: loopback }]`,
    [/needs listen\.http/],
  ],
  [
    'a member of another instance',
    minimal.replace('instance: TW', 'instance: TX'),
    [/^\/node\/member .*not of instance TX/],
  ],
  [
    'one port twice',
    `${minimal}\nadmin: { host: 127.0.0.1, port: 1 }\nlisten: { http: { port: 1 } }`,
    [/^\/admin\/port .*port of listen\/http/],
  ],
  [
    'a store in the open',
    `${minimal}\nreplicas: { store: 'redis://store.a11.example:6379', secretFile: token }`,
    [/^\/replicas\/store .*off loopback .*rediss/],
  ],
  [
    'a store with a password in its URL, which logs would show',
    `${minimal}\nreplicas: { store: 'rediss://u:p@store.a11.example', secretFile: token }`,
    [/^\/replicas\/store .*without user and password/],
  ],
  [
    'settings of a store that come together',
    `${minimal}\nreplicas: { store: 'redis://127.0.0.1/16', secretFile: link.pem, user: u, ca: ca.pem }`,
    [/^\/replicas\/ca .*rediss/, /^\/replicas\/user .*passwordFile/, /secretFile .*open to others/],
  ],
  [
    'a URL with a query',
    `${minimal}\nservices: [{ id: TW/GOV/A11/x/y, url: 'http://a/?b' }]`,
    [/^\/services\/0\/url .*without user, query/],
  ],
  [
    'a URL with a user',
    `${minimal}\nservices: [{ id: TW/GOV/A11/x/y, url: 'http://u@a/' }]`,
    [/^\/services\/0\/url /],
  ],
  [
    'a URL of another scheme',
    `${minimal}\nservices: [{ id: TW/GOV/A11/x/y, url: 'file:///etc' }]`,
    [/^\/services\/0\/url /],
  ],
  ['a name in capitals', minimal.replace('gw.a11', 'GW.a11'), [/^\/node\/name .*lower case/]],
  [
    'an identifier with two spellings',
    minimal.replace('TW/GOV/A11,', 'TW/GOV/A%31%31,'),
    [/^\/node\/member .*percent-encoded/],
  ],
  [
    'a size without a unit we know',
    `${minimal}\nservices: [{ id: TW/GOV/A11/x/y, url: 'http://a', maxRequestBytes: 5 MB }]`,
    [/maxRequestBytes .*5 MiB/],
  ],
  ['a duplicate key', `${minimal}\nnode: {}`, [/unique/i]],
  ['an alias', `${minimal.replace('{ dir: log }', '&a { dir: log }')}\nlimits: *a`, [/aliases are not used/]],
  ['an unknown tag', minimal.replace('dir: log', 'dir: !!js/function log'), [/tag/]],
  ['a second document', `${minimal}\n---\na: 1`, [/document/]],
  ['__proto__ as a key', `${minimal}\n__proto__: { admin: 1 }`, [/__proto__ .*unknown setting/]],
  [
    'what is not YAML',
    `${minimal}\nlimits: 'open`,
    [/^line \d+, column \d+: not YAML: .*; look at indentation/],
  ],
  ['a list where a map belongs', '[]', [/expected object/]],
  ['nothing', '', [/^\/: is empty: expected settings; troad init writes an example/]],
  [
    'settings that are missing',
    minimal.replace(/^registry: .*\n/m, ''),
    [/^\/registry: is missing: expected settings; .* 缺少必要的設定$/],
  ],
];
for (const [what, yaml, expected] of contradictions) {
  void t.test(`refuses ${what}`, async (t) => {
    const problems = problemsOf(() => load(t, yaml));
    t.equal(problems.length, expected.length, problems.join('\n'));
    t.match(problems, expected);
  });
}

void t.test('every problem comes at once, with its line', async (t) => {
  const problems = problemsOf(() =>
    load(
      t,
      `${minimal}
listen:
  http: { port: 70000 }
services:
  - id: nonsense
    url: ftp://x
`,
    ),
  );
  t.match(problems, [
    /^\/listen\/http\/port \(line 10\)/,
    /^\/services\/0\/id \(line 12\)/,
    /^\/services\/0\/url \(line 13\)/,
  ]);
});

void t.test('files are looked at', async (t) => {
  const missing = problemsOf(() =>
    load(t, minimal.replace('link.pem', 'gone.pem').replace('bundle: bundle', 'bundle: token')),
  );
  t.match(missing, [
    /^\/link\/cert .*gone\.pem: there is no such file/,
    /^\/policy\/bundle .*is not a folder/,
  ]);

  for (const [mode, refused] of [
    [0o604, true],
    [0o644, true],
    [0o660, true],
    [0o640, false],
    [0o400, false],
  ] as const) {
    const dir = folder(t, minimal);
    chmodSync(join(dir, 'message.key'), mode);
    const problems = problemsOf(() => loadConfig(join(dir, 'gateway.yaml')));
    t.match(
      problems,
      refused ? [/^\/keys\/message\/file .*open to others \(mode 0\d+\): chmod 600/] : [],
      mode.toString(8),
    );
    t.equal(problems.length, refused ? 1 : 0);
  }
  t.match(
    problemsOf(() => loadConfig('/nowhere/gateway.yaml')),
    [/^there is no such file: check the path/],
  );
  t.throws(() => loadConfig('/nowhere/gateway.yaml'), {
    message: /^\/nowhere\/gateway\.yaml: /,
  });
  const dir = folder(t, minimal);
  const folderForFile = join(dir, 'a.yaml');
  mkdirSync(folderForFile);
  t.match(
    problemsOf(() => loadConfig(folderForFile)),
    [/^is a folder: name a file in it/],
  );
  const latin = join(dir, 'latin.yaml');
  writeFileSync(latin, Buffer.from([0x61, 0xe9]));
  t.match(
    problemsOf(() => loadConfig(latin)),
    [/^is not text in UTF-8/],
  );
});

void t.test('a text that is not YAML is not quoted: a secret may stand in it', async (t) => {
  const [problem = ''] = problemsOf(() => load(t, `${minimal}\n  password: "hunter2\n`));
  t.match(problem, /not YAML/);
  t.notMatch(problem, /hunter2/);
});

void t.test('random text never throws anything but ConfigError', async () => {
  const dir = folder(t, minimal);
  const file = join(dir, 'random.yaml');
  fc.assert(
    fc.property(
      fc.array(
        fc.constantFrom(...minimal.split(/(?<=\W)/), '&a ', '*a ', '__proto__: ', '\t', '- ', '!x ', '"'),
      ),
      (words) => {
        writeFileSync(file, words.join(''));
        problemsOf(() => loadConfig(file));
      },
    ),
    { numRuns: 300 },
  );
});

void t.test('where the store of the replicas is', async (t) => {
  const storeOf = (url: string) =>
    load(t, `${minimal}\nreplicas: { store: '${url}', secretFile: token }`).replicas?.store;
  const local = { host: '127.0.0.1', port: 6379, database: 0, tls: false };
  t.same(storeOf('redis://127.0.0.1'), local);
  t.same(storeOf('redis://[::1]:7000/2'), { host: '::1', port: 7000, database: 2, tls: false });
  t.same(storeOf('rediss://store.a11.example:6380/15'), {
    host: 'store.a11.example',
    port: 6380,
    database: 15,
    tls: true,
  });
  t.equal(load(t, minimal).replicas, undefined);
});

void t.test('the JSON Schema describes every setting and refuses unknown ones', async (t) => {
  const schema = JSON.stringify(configJsonSchema());
  t.match(schema, /"additionalProperties":false/);
  t.notMatch(schema, /"additionalProperties":true/);
  for (const name of ['maxConcurrent', 'rootKeys', 'requireHybrid', 'segmentMiB']) t.match(schema, name);
  t.same((configJsonSchema() as { required?: string[] }).required, [
    'node',
    'link',
    'registry',
    'keys',
    'log',
    'policy',
  ]);
});

void t.test('sizes', async (t) => {
  t.equal(bytesOf(7), 7);
  t.equal(bytesOf('64 KiB'), 65_536);
  t.equal(bytesOf('2GiB'), 2 ** 31);
  t.equal(bytesOf('1 TiB'), 2 ** 40);
});
