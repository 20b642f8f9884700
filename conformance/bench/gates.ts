/** What must hold, or every figure of the run is void: a fast gateway that loses bytes is not a gateway. */
import { ECHO_BODY } from './backend.ts';
import { download, upload, type Transfer } from './bulk.ts';
import type { Lab } from './lab.ts';
import type { Sample } from './measure.ts';
import type { Gate, Subject } from './subjects/subject.ts';

/** How many requests {@link checkSubject} has answered when all its gates pass. */
export const CHECK_EXCHANGES = 5;

async function echoed(subject: Subject): Promise<Gate> {
  const { url, headers } = subject.target('bench', '/echo');
  const response = await fetch(url, { method: 'POST', headers, body: ECHO_BODY });
  const body = Buffer.from(await response.arrayBuffer());
  return {
    name: `${subject.name}: POST answers 200 with the service's body`,
    passed: response.status === 200 && body.equals(ECHO_BODY),
    detail: `status ${response.status}, ${body.length} bytes`,
  };
}

async function digested(name: string, expected: string, transfer: Promise<Transfer>): Promise<Gate> {
  try {
    const { status, bytes, sha256 } = await transfer;
    const passed = status === 200 && sha256 === expected;
    return { name, passed, detail: `status ${status}, ${bytes} bytes, SHA-256 ${sha256 ?? 'none'}` };
  } catch (cause) {
    return { name, passed: false, detail: String(cause) };
  }
}

/** Small and big bodies, both directions, with fast and with slow readers: the bytes that arrive are those that left. */
export async function checkSubject(subject: Subject, lab: Lab): Promise<readonly Gate[]> {
  const { payload } = lab;
  const file = subject.target('bench', '/payload');
  const check = (what: string, transfer: Promise<Transfer>): Promise<Gate> =>
    digested(`${subject.name}: SHA-256 of ${what}`, payload.sha256, transfer);
  return [
    await echoed(subject),
    await check('a download', download(file, payload.bytes, { digest: true })),
    await check('an upload', upload(subject.target('sink', '/digest'), payload)),
    // Both at once: each spends its time waiting.
    ...(await Promise.all([
      check('a download by a slow reader', download(file, payload.bytes, { digest: true, slow: true })),
      check('an upload to a slow reader', upload(subject.target('sink', '/slow'), payload)),
    ])),
  ];
}

/** Every answer of the measurements was a complete 200 and every bulk byte the right one. */
export function checkSamples(samples: readonly Sample[]): readonly Gate[] {
  const subjects = [...new Set(samples.map(({ subject }) => subject))];
  return subjects.map((subject) => {
    const own = samples.filter((sample) => sample.subject === subject);
    const bad = own.filter(({ errors, exchanges }) => errors > 0 || exchanges === 0);
    const total = own.reduce((count, { exchanges }) => count + exchanges, 0);
    return {
      name: `${subject}: every measured answer is a complete 200`,
      passed: bad.length === 0 && total > 0,
      detail: `${total} answers${bad.map(({ cell, round, errors }) => `, ${errors === 0 ? 'none' : `${errors} bad`} in ${cell} round ${round}`).join('')}`,
    };
  });
}
