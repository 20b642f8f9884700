/** The agency's service that stands behind every subject alike: as cheap as can be, so that the subjects are seen. */
import { startNginx } from './nginx.ts';
import { freePort, start } from './spawn.ts';

/** What `POST /echo` answers. */
export const ECHO_BODY = Buffer.alloc(1024, 'agency of Taiwan ');

export interface Backend {
  /** nginx. `/echo` answers 1 KiB, `/payload` and `/part` are files. */
  readonly benchUrl: string;
  /** A Node program that swallows uploads, see sink.ts. */
  readonly sinkUrl: string;
  stop(): Promise<void>;
}

/** @param dir holds `payload` and `part` */
export async function startBackend(dir: string): Promise<Backend> {
  const port = await freePort();
  const nginx = await startNginx(
    dir,
    'backend',
    `
  server {
    listen 127.0.0.1:${port};
    location = /echo { return 200 '${ECHO_BODY.toString()}'; }
    location = /payload { alias ${dir}/payload; }
    location = /part { alias ${dir}/part; }
  }`,
    port,
  );
  try {
    const sink = start(process.execPath, [new URL('sink.ts', import.meta.url).pathname, `${dir}/payload`], {
      stdio: ['pipe', 'pipe', 'inherit'], // the sink ends with its stdin: it cannot outlive us
    });
    const stop = async (): Promise<void> => {
      await Promise.all([nginx.stop(), sink.stop()]);
    };
    const sinkPort = await new Promise<number>((resolve, reject) => {
      sink.child.stdout?.setEncoding('utf8').once('data', (line: string) => {
        resolve(Number(line));
      });
      sink.child.once('exit', (code) => {
        reject(new Error(`the sink ended: ${code}`));
      });
    });
    return { benchUrl: `http://127.0.0.1:${port}`, sinkUrl: `http://127.0.0.1:${sinkPort}`, stop };
  } catch (cause) {
    await nginx.stop();
    throw cause;
  }
}
