import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { base64url, sha256, utf8 } from '../../gateway/core/bytes.ts';
import { openLog } from '../../gateway/evidence/log.ts';
import type { PolicyFacts } from '../../gateway/evidence/record.ts';
import { canonicalJson, isObject } from '../../gateway/trust/canonical.ts';
import type { PolicyEngine } from '../../gateway/trust/engine.ts';
import { draft, exchangeId, logOptions } from './log.ts';

/** An input document with which the policy of this repository was tested. */
export function vectorInput(base = 'consumer'): Record<string, unknown> {
  const file = new URL('../../policies/vectors/admission.json', import.meta.url);
  const { bases } = JSON.parse(readFileSync(file, 'utf8')) as {
    readonly bases: Readonly<Record<string, Record<string, unknown>>>; // the repository's own file
  };
  const input = bases[base];
  if (input === undefined) throw new Error(`no base ${base}`);
  return input;
}

/** Puts a value at a pointer (RFC 6901, no escapes). */
export function withValue(document: object, pointer: string, value: unknown): Record<string, unknown> {
  const copy: unknown = structuredClone(document);
  const [, ...steps] = pointer.split('/');
  const last = steps.pop() ?? '';
  const owner = steps.reduce((at, step) => (isObject(at) ? at[step] : undefined), copy);
  if (!isObject(owner) || !isObject(copy)) throw new Error(`no ${pointer}`);
  Reflect.set(owner, last, value);
  return copy;
}

export interface DecidedExchange {
  /** Input; its decision_id is set to the exchange's. */
  readonly input: object;
  /** What the record says otherwise than the policy did. */
  readonly lies?: Partial<PolicyFacts>;
  /** Sealed in place of the input. */
  readonly sealed?: Uint8Array;
}

/** Writes a log of exchanges that the policy decided on. @returns the folder */
export async function writeDecisions(
  dir: string,
  engine: PolicyEngine,
  exchanges: Iterable<DecidedExchange>,
): Promise<string> {
  const log = await openLog(logOptions(dir, { segmentBytes: 1 << 22, random: randomBytes }));
  let n = 0;
  const appended: Promise<unknown>[] = [];
  for (const { input, lies = {}, sealed } of exchanges) {
    const bytes = utf8(canonicalJson({ ...input, decision_id: exchangeId(n) }));
    const decision = engine.replay(bytes);
    const { allow, reasons, agreementId, resultDigest, bundleDigest, entrypoint } = decision;
    const { tier, score, threshold, obligations } = decision;
    const pol: PolicyFacts = {
      b: bundleDigest,
      e: entrypoint,
      i: base64url(sha256(bytes)),
      o: resultDigest,
      allow,
      tier,
      score,
      threshold,
      ...(Object.keys(obligations).length === 0 ? {} : { obligations: { ...obligations } }),
      ...(agreementId === undefined ? {} : { agreement: agreementId }),
      ...(reasons.length === 0 ? {} : { reasons }),
      ...lies,
    };
    const record = draft(allow ? 'req.final' : 'deny', n, {
      pol,
      ...(allow ? {} : { out: 'policy.denied' }),
    });
    appended.push(log.append(record, { input: sealed ?? bytes }));
    n += 1;
    if (n % 512 === 0) await Promise.all(appended.splice(0));
  }
  await Promise.all(appended);
  await log.close();
  return dir;
}
