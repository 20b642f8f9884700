import { type EarContent, HEALTH_ITEMS, TRUST_CATEGORIES } from './ear.ts';
import { atLeast, tierOf } from './tier.ts';

/** What decides whether one result of a device is worse than another. */
export type Standing = Pick<
  EarContent,
  | 'class'
  | 'gateway'
  | 'bindingKey'
  | 'epoch'
  | 'resetCount'
  | 'restartCount'
  | 'sequence'
  | 'tpm'
  | 'health'
  | 'cves'
>;

/** Negative when `a` is the older one. A start counts for more than the service's clock, which can be set back. */
export const compareAge = (a: Standing, b: Standing): number =>
  a.epoch - b.epoch ||
  a.resetCount - b.resetCount ||
  a.restartCount - b.restartCount ||
  a.sequence - b.sequence;

/**
 * Does a newer result say less for the device than a former one, in any point? Whatever is new about it counts as less:
 * another start, another key, another enrolment, a weakness that was not known.
 */
export function isWorse(next: Standing, former: Standing): boolean {
  return (
    next.epoch !== former.epoch ||
    next.resetCount !== former.resetCount ||
    next.restartCount !== former.restartCount ||
    next.class !== former.class ||
    next.gateway !== former.gateway ||
    next.bindingKey.x !== former.bindingKey.x ||
    next.bindingKey.y !== former.bindingKey.y ||
    TRUST_CATEGORIES.some((category) => isWorseClaim(next.tpm[category], former.tpm[category])) ||
    HEALTH_ITEMS.some((item) => isWorseClaim(next.health[item], former.health[item])) ||
    hasNewWeakness(next.cves, former.cves)
  );
}

/** Claims that are not made say nothing, which is 0 (AR4SI §3.2.2). */
function isWorseClaim(next = 0, former = 0): boolean {
  if (next === former) return false;
  const [tier, before] = [tierOf(next) ?? 'contraindicated', tierOf(former) ?? 'contraindicated'];
  // Within a tier the larger number is the lesser praise: 3 is "recognized at boot", 2 also later.
  if (tier === before) return Math.abs(next) >= Math.abs(former);
  // A fault that is known, and nothing known: neither is better than the other.
  return !atLeast(tier, before) || (tier === 'warning' && before === 'none');
}

function hasNewWeakness(next: Standing['cves'], former: Standing['cves']): boolean {
  if (former === undefined) return false;
  if (next === undefined) return true;
  const known = new Set([...former.os, ...former.applications]);
  return [...next.os, ...next.applications].some((cve) => !known.has(cve));
}
