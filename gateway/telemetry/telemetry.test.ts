import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import type { Clock } from '../core/clock.ts';
import { Denied } from '../core/errors.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { LinkSession } from '../link/link.ts';
import type { Emit } from './events.ts';
import { LineWriter } from './line-writer.ts';
import { openOperatorLog } from './log.ts';
import { processMetrics } from './gateway-metrics.ts';
import { LineRelay } from './line-relay.ts';
import { mergeSnapshots, remains } from './merged-metrics.ts';
import { MetricsPage, renderPage } from './metrics.ts';
import { ReadinessLog } from './readiness.ts';
import { SecurityLog } from './security-log.ts';
import { Telemetry } from './telemetry.ts';

class HandClock implements Clock {
  time = 1_000_000;
  now = (): number => 1_790_000_000_000 + this.time;
  monotonic = (): number => this.time;
}

interface Line {
  readonly level: string;
  readonly at: number;
  readonly event: string;
  readonly [field: string]: unknown;
}

/** Real log lines, as the operator would read them. */
function setUp(): { clock: HandClock; lines: Line[]; emit: Emit; telemetry: Telemetry } {
  const clock = new HandClock();
  const lines: Line[] = [];
  const { emit } = openOperatorLog(clock, {
    write: (line) => void lines.push(JSON.parse(line) as Line /* what we wrote just now */),
  });
  const telemetry = new Telemetry({
    emit,
    clock,
    sources: {
      thread: () => ({ heapBytes: 3, collectorSeconds: 0.5, loopDelaySeconds: 5 }),
      logSize: () => 7n,
    },
  });
  return { clock, lines, emit, telemetry };
}

const exchange = 'AAAAAAAAAAAAAAAAAAAAAA' as ExchangeId;
const outcome = {
  exchange,
  role: 'c',
  status: 200,
  peer: 'gw.b07.tw.troad.example',
  client: 'TW/GOV/A11/welfare',
  service: 'TW/GOV/B07/housing/echo',
  elapsedMs: 12.34567,
  requestBytes: 10,
  responseBytes: 20,
} as const;

function metric(telemetry: Telemetry, name: string): string | undefined {
  const line = renderPage(telemetry.snapshot())
    .split('\n')
    .find((text) => text.startsWith(`${name} `));
  return line?.slice(name.length + 1);
}

void t.test('an exchange is one line and its counts', async (t) => {
  const { lines, telemetry } = setUp();
  telemetry.exchanges.started('c');
  telemetry.exchanges.started('c');
  t.equal(telemetry.inFlight, 2);
  t.equal(metric(telemetry, 'troad_exchanges_in_flight{role="consumer"}'), '2');
  telemetry.exchanges.finished({ ...outcome, out: 'ok' });
  telemetry.exchanges.finished({ ...outcome, out: 'policy.denied', status: undefined });
  telemetry.exchanges.started('p');
  telemetry.exchanges.finished({ ...outcome, role: 'p', out: 'response.incomplete' });
  t.strictSame(lines[0], {
    level: 'info',
    at: 1_790_001_000_000,
    exchange,
    role: 'c',
    status: 200,
    peer: outcome.peer,
    client: outcome.client,
    service: outcome.service,
    elapsedMs: 12.346,
    requestBytes: 10,
    responseBytes: 20,
    event: 'exchange.completed',
  });
  t.match(lines[1], { level: 'info', event: 'exchange.refused', code: 'policy.denied' });
  t.match(lines[2], { level: 'warn', event: 'exchange.aborted', code: 'response.incomplete', role: 'p' });
  t.equal(telemetry.inFlight, 0);
  t.equal(metric(telemetry, 'troad_exchanges_total{role="consumer",out="ok"}'), '1');
  t.equal(metric(telemetry, 'troad_exchanges_total{role="consumer",out="policy.denied"}'), '1');
  t.equal(metric(telemetry, 'troad_exchange_seconds_count{role="provider",end="gateway"}'), '1');
  t.equal(metric(telemetry, 'troad_exchange_seconds_bucket{role="consumer",end="ok",le="0.025"}'), '1');
  t.equal(metric(telemetry, 'troad_exchange_bytes_total{role="consumer",direction="response"}'), '40');
});

void t.test('sessions of the link', async (t) => {
  const { lines, telemetry } = setUp();
  const session: LinkSession = {
    id: 's1',
    protocol: 'h2',
    remote: '10.0.0.1:5500',
    peerCertificate: Buffer.alloc(0),
    tls: { v: 'TLSv1.3', suite: 'TLS_AES_256_GCM_SHA384', g: 'X25519MLKEM768', peer: 'cert' },
    exportKeyingMaterial: (_, length) => Buffer.alloc(length),
    end: () => undefined,
  };
  const client = telemetry.link('client');
  client({ kind: 'session.opened', session });
  t.match(lines[0], {
    event: 'link.session_opened',
    side: 'client',
    group: 'X25519MLKEM768',
    certificate: 'cert',
  });
  t.equal(metric(telemetry, 'troad_link_sessions{side="client"}'), '1');
  t.equal(metric(telemetry, 'troad_link_sessions_opened_total{side="client",hybrid="yes"}'), '1');
  client({ kind: 'session.broken', session, cause: new Error('flood\nof resets') });
  client({ kind: 'session.closed', session });
  t.match(lines[1], { level: 'warn', event: 'link.session_broken', detail: 'flood\\u000aof resets' });
  t.equal(metric(telemetry, 'troad_link_sessions{side="client"}'), '0');
  const server = telemetry.link('server');
  server({ kind: 'peer.refused', remote: '10.0.0.9:4711', cause: new Denied('peer.unknown', 'gw.evil') });
  server({ kind: 'peer.refused', remote: '10.0.0.9:4712', cause: new Error('handshake') });
  t.match(lines.slice(3), [
    { event: 'security.refused', code: 'peer.unknown', address: '10.0.0.9' },
    { event: 'security.refused', code: 'peer.certificate', address: '10.0.0.9' },
  ]);
  t.equal(metric(telemetry, 'troad_link_peers_refused_total{side="server"}'), '2');
  t.equal(metric(telemetry, 'troad_unidentified_refusals_total{code="peer.unknown"}'), '1');
});

void t.test('evidence and readiness: a line when something changes, not each time', async (t) => {
  const { lines, telemetry, emit } = setUp();
  const { evidence } = telemetry;
  const readiness = new ReadinessLog(emit);
  evidence.committed?.({ records: 3, bytes: 900, elapsedMs: 0.4 });
  evidence.checkpoint?.(42n);
  evidence.health?.({ ok: true });
  evidence.health?.({ ok: false, reason: 'disk full' });
  evidence.health?.({ ok: false, reason: 'disk full' });
  t.equal(metric(telemetry, 'troad_evidence_available'), '0');
  evidence.health?.({ ok: true });
  readiness.tell([]);
  readiness.tell([]);
  readiness.tell(['registry expired']);
  t.strictSame(
    lines.map(({ event, level }) => `${level} ${event}`),
    [
      'error evidence.unavailable',
      'info evidence.available',
      'info gateway.ready',
      'error gateway.not_ready',
    ],
  );
  telemetry.signed(1);
  telemetry.signed(12);
  t.equal(metric(telemetry, 'troad_signature_messages_sum'), '13');
  t.equal(metric(telemetry, 'troad_signature_messages_bucket{le="8"}'), '1');
  t.equal(metric(telemetry, 'troad_evidence_records_total'), '3');
  t.equal(metric(telemetry, 'troad_evidence_checkpoint_size'), '42');
  t.equal(metric(telemetry, 'troad_evidence_commit_seconds_bucket{le="0.0005"}'), '1');
});

void t.test('software TPMs are loud, once for each service', async (t) => {
  const { telemetry, lines } = setUp();
  telemetry.softwareTpm('attest.lab');
  telemetry.softwareTpm('attest.lab');
  telemetry.softwareTpm('attest.other');
  t.strictSame(
    lines.filter(({ event }) => event === 'device.lab').map(({ issuer }) => issuer),
    ['attest.lab', 'attest.other'],
  );
  t.equal(metric(telemetry, 'troad_device_software_tpms'), '1');
});

void t.test('metrics of the process, and of several threads as those of one', async (t) => {
  const page = processMetrics({
    thread: () => ({ heapBytes: 10, collectorSeconds: 0.25, loopDelaySeconds: 1 }),
    process: () => ({ cpuSeconds: 1.5, residentBytes: 2, startedAtSeconds: 4 }),
    ready: () => true,
    workers: () => ({ open: 2, lost: 1 }),
    registry: () => ({ version: 3, expiresAtMs: 5000 }),
    build: () => ({ version: '0.1.0' }),
    policy: () => ({ revision: 'abc' }),
    feedSilence: () => 7,
    threatAge: () => Infinity,
  });
  const one = setUp().telemetry;
  const other = setUp().telemetry;
  one.exchanges.started('c');
  one.exchanges.finished({ ...outcome, out: 'ok' });
  other.exchanges.started('c');
  other.exchanges.finished({ ...outcome, out: 'ok' });
  other.exchanges.started('p');
  other.evidence.health?.({ ok: false, reason: 'disk full' });
  const merged = mergeSnapshots([one.snapshot(), other.snapshot(), page.snapshot()]);
  const lines = renderPage(merged).split('\n');
  for (const line of [
    'troad_exchanges_total{role="consumer",out="ok"} 2',
    'troad_exchange_seconds_bucket{role="consumer",end="ok",le="+Inf"} 2',
    'troad_exchange_seconds_count{role="consumer",end="ok"} 2',
    'troad_exchanges_in_flight{role="provider"} 1',
    'troad_evidence_size 14',
    'troad_evidence_available 0',
    'nodejs_heap_size_used_bytes 16',
    'nodejs_gc_seconds_total 1.25',
    'nodejs_eventloop_lag_p99_seconds 5',
    'process_cpu_seconds_total 1.5',
    'troad_registry_expires_seconds 5',
    'troad_threat_feed_age_seconds +Inf',
    'troad_device_feed_silence_seconds 7',
    'troad_build_info{version="0.1.0"} 1',
    'troad_workers 2',
    'troad_workers_lost_total 1',
  ]) {
    t.equal(lines.filter((text) => text === line).length, 1, line);
  }
  t.equal(lines.filter((text) => text.startsWith('# TYPE nodejs_heap')).length, 1, 'one family');
  const left = renderPage(mergeSnapshots([one.snapshot(), remains(other.snapshot())])).split('\n');
  t.ok(left.includes('troad_exchanges_total{role="consumer",out="ok"} 2'), 'counters do not go back');
  t.ok(left.includes('troad_exchanges_in_flight{role="provider"} 0'), 'what ran there runs no more');
  t.ok(left.includes('troad_evidence_available 1'));
});

void t.test('how values of threads become one', async (t) => {
  const page = (value: number): MetricsPage => {
    const made = new MetricsPage();
    made.gauge('low', 'x', {}, 'least').set({}, value);
    made.gauge('high', 'x', {}, 'greatest').set({}, value);
    made.info('about', 'x', () => ({ value: String(value) }));
    return made;
  };
  t.equal(
    renderPage(mergeSnapshots([page(2).snapshot(), page(1).snapshot()])),
    `# HELP low x
# TYPE low gauge
low 1
# HELP high x
# TYPE high gauge
high 2
# HELP about x
# TYPE about gauge
about{value="2"} 1
about{value="1"} 1
`,
  );
});

void t.test('lines of a worker go in batches to the thread that writes them', async (t) => {
  const sent: string[] = [];
  const log = openOperatorLog(new HandClock(), new LineRelay((lines) => sent.push(lines)), { worker: 2 });
  log.emit('gateway.ready', {});
  log.emit('gateway.ready', {});
  t.same(sent, []);
  log.emit('registry.problem', { detail: 'expired' });
  t.equal(sent.length, 1, 'trouble hurries, and takes along what waits');
  t.match(
    sent[0],
    /^(\{"level":"info",.*,"worker":2,"event":"gateway.ready"\}\n){2}\{"level":"error",.*\}\n$/,
  );
  log.emit('gateway.ready', {});
  while (sent.length < 2) await setTimeout(10);
  for (let i = 0; i < 1600; i += 1) log.emit('gateway.stopped', { elapsedMs: i });
  const atOnce = sent.length;
  t.ok(atOnce > 2 && atOnce < 8, 'full batches do not wait');
  await log.close();
  t.equal(sent.join('').split('\n').length, 1605);
});

void t.test('the line of an exchange is the one that pino would write', async (t) => {
  const clock = new HandClock();
  const text = fc.option(fc.oneof(fc.string(), fc.string({ unit: 'binary' })), { nil: undefined });
  const facts = fc.record({
    status: fc.option(fc.integer(), { nil: undefined }),
    peer: text,
    client: text,
    service: text,
    elapsedMs: fc.double({ noNaN: true, noDefaultInfinity: true }),
    requestBytes: fc.nat(),
  });
  for (const base of [null, { worker: 3 }]) {
    const lines: string[] = [];
    const log = openOperatorLog(clock, { write: (line) => void lines.push(line) }, base);
    fc.assert(
      fc.property(facts, fc.constantFrom('c', 'p'), (some, role) => {
        const fields = { exchange, role, responseBytes: 7, ...some } as const;
        log.emit('exchange.completed', fields);
        log.emit('exchange.refused', { ...fields, code: 'policy.denied' });
        const [ours, theirs] = lines.splice(0);
        const end = ',"code":"policy.denied","event":"exchange.refused"}\n';
        if (theirs?.endsWith(end) !== true) throw new Error(theirs);
        t.equal(ours, `${theirs.slice(0, -end.length)},"event":"exchange.completed"}\n`);
      }),
    );
  }
});

void t.test('noise of unidentified peers is bounded, and summed up', async (t) => {
  const { clock, lines, emit } = setUp();
  const log = new SecurityLog(emit, clock, { addresses: 3, lines: 12, linesPerAddress: 5, windowMs: 1000 });
  for (let i = 0; i < 100; i += 1) log.refused('framing.malformed', '10.0.0.1', 'x');
  for (let i = 0; i < 100; i += 1) log.refused('framing.malformed', `10.1.0.${i}`, 'x');
  t.equal(lines.length, 12, 'five for the loud one, then what the window allows');
  t.equal(lines.filter(({ address }) => address === '10.0.0.1').length, 5);
  log.tick();
  t.equal(lines.length, 12, 'the window is not over');
  clock.time += 1000;
  log.tick();
  t.match(lines[12], {
    event: 'security.suppressed',
    refusals: 188,
    addresses: 2,
    most: [
      { address: '10.0.0.1', refusals: 95 },
      { address: 'others', refusals: 93 },
    ],
  });
  log.refused('framing.malformed', '10.0.0.1', 'x');
  t.match(lines[13], { event: 'security.refused' }, 'a new window');
  log.flush();
  t.equal(lines.length, 14, 'nothing left out, nothing to sum up');
});

void t.test('foreign text cannot write lines', async (t) => {
  const { lines, telemetry } = setUp();
  telemetry.exchanges.trouble(
    exchange,
    'service.unreachable',
    'a\n{"level":"info","event":"gateway.ready"}\u001b[2J',
  );
  t.equal(lines.length, 1);
  t.match(lines[0], { event: 'exchange.trouble', code: 'service.unreachable' });
});

void t.test('a descriptor: lines wait a moment, trouble hurries, the end flushes', async (t) => {
  const file = join(t.testdir(), 'log');
  const fd = openSync(file, 'w');
  t.teardown(() => closeSync(fd));
  const read = (): string => readFileSync(file, 'utf8');
  const log = openOperatorLog(new HandClock(), fd);
  log.emit('gateway.ready', {});
  t.equal(read(), '');
  log.emit('registry.problem', { detail: 'expired' });
  while (!read().includes('expired')) await setTimeout(1);
  t.match(
    read(),
    /^\{"level":"info","at":\d+,"event":"gateway.ready"\}\n\{"level":"error",.*"detail":"expired".*\}\n$/,
  );
  log.emit('gateway.ready', {});
  log.flush();
  t.equal(read().split('\n').length, 4);
  for (let i = 0; i < 300; i += 1) log.emit('gateway.stopped', { elapsedMs: i });
  while (!read().includes('"elapsedMs":299')) await setTimeout(5);
  t.equal(read().split('\n').length, 304, 'every line once');
});

void t.test('a reader that stalls or goes away costs lines, never the process', async (t) => {
  const program = `
    import { openOperatorLog } from ${JSON.stringify(new URL('log.ts', import.meta.url).href)};
    const log = openOperatorLog({ now: () => 1, monotonic: () => 1 }, 1);
    const detail = 'x'.repeat(400);
    let beats = 0;
    const timer = setInterval(() => {
      beats += 1;
      for (let i = 0; i < 1500; i += 1) log.emit('registry.problem', { detail });
      if (beats < 20) return;
      clearInterval(timer);
      process.stderr.write(process.memoryUsage().rss < 400e6 ? 'alive' : 'fat');
    }, 5);
  `;
  for (const reader of ['stalls', 'goes away']) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    if (reader === 'goes away') child.stdout.destroy();
    t.equal(String(await once(child.stderr, 'data')), 'alive', reader);
    child.kill('SIGKILL');
  }
});

void t.test('dropped lines are counted and told', async (t) => {
  const file = join(t.testdir(), 'log');
  const fd = openSync(file, 'w');
  const writer = new LineWriter(fd, 10);
  writer.write('12345\n');
  writer.write('6789\n');
  t.equal(writer.takeDropped(), 1, 'no room in memory');
  closeSync(fd);
  writer.flush();
  t.equal(writer.takeDropped(), 1, 'a closed descriptor');

  // What the log could not write is told by the next line that it can.
  const broken = openSync(file, 'r');
  const log = openOperatorLog(new HandClock(), broken);
  log.emit('gateway.ready', {});
  log.flush();
  closeSync(broken);
  t.equal(openSync(file, 'a'), broken, 'the same descriptor, writable now');
  log.emit('gateway.ready', {});
  await log.close();
  t.match(readFileSync(file, 'utf8'), /"lines":1,"event":"log\.dropped"/);
  t.match(readFileSync(file, 'utf8'), /"event":"gateway\.ready"/);
});
