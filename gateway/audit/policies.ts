import type { CoreRecord } from '../evidence/record.ts';
import { Step } from './report.ts';

/** Kinds of record that are written at a decision; later ones repeat what the first has said. */
const DECIDED: ReadonlySet<string> = new Set(['open', 'req.final', 'deny']);

/**
 * Which policies a log says were in force, in its order: a decision cites one that was activated before it, and no
 * activation goes back to an older version. (A return to an earlier one, and a start with it, say so themselves.)
 */
export class PolicyTrail {
  readonly step = new Step('decisions are of policies in force');
  readonly #activated = new Set<string>();
  #version = 0;

  read(core: CoreRecord, index: bigint): void {
    // Whoever wrote the log chose these, types included.
    const { bundle, act, version, pol }: Readonly<Record<string, unknown>> = { ...core };
    if (core.k === 'policy') this.#activate(String(bundle), act, version, index);
    else if (DECIDED.has(core.k) && typeof pol === 'object' && pol !== null && 'b' in pol)
      this.#cite(String(pol.b), index);
  }

  #activate(bundle: string, act: unknown, version: unknown, index: bigint): void {
    this.#activated.add(bundle);
    const number = typeof version === 'number' ? version : 0;
    if (act === 'activate' && number < this.#version) {
      const detail = `version ${number} of ${bundle} was activated after version ${this.#version}`;
      this.step.find('fail', 'rollback', detail, { index: String(index) });
    }
    this.#version = Math.max(this.#version, number);
  }

  #cite(bundle: string, index: bigint): void {
    if (this.#activated.has(bundle)) this.step.checked += 1;
    // Records of a part of a log, and of logs before there were activations.
    else if (this.#activated.size === 0) this.step.notCheckable += 1;
    else {
      const detail = `decided by ${bundle}, which this log does not say was in force`;
      this.step.find('fail', 'policy', detail, { index: String(index) });
    }
  }
}
