import { isObject } from '../trust/canonical.ts';

/** What one factor brings to the score. */
export interface ScoreShare {
  readonly factor: string;
  readonly level: number;
  readonly weight: number;
}

/** Levels and weights, as the policy that comes with the program keeps them. Any other answers nothing to it. */
export const SCORE_QUERY = '{"levels": data.troad.score.levels, "weights": data.score.weights}';

/**
 * Of what the score is the sum, the greatest share first.
 * @param json of `opa eval --format json`
 * @returns undefined where the policy keeps its score otherwise: what does not add up explains nothing
 */
export function scoreShares(json: string, score: number | undefined): readonly ScoreShare[] | undefined {
  const output: unknown = JSON.parse(json);
  const [found] = isObject(output) ? list(output['result']) : [];
  const [expression] = isObject(found) ? list(found['expressions']) : [];
  const value = isObject(expression) ? expression['value'] : undefined;
  const { levels, weights } = isObject(value) ? value : {};
  if (!isObject(levels) || !isObject(weights)) return undefined;
  const shares: ScoreShare[] = [];
  for (const [factor, level] of Object.entries(levels)) {
    const weight = weights[factor];
    if (typeof level !== 'number' || typeof weight !== 'number') return undefined;
    shares.push({ factor, level, weight });
  }
  const sum = shares.reduce((points, { level, weight }) => points + level * weight, 0);
  if (sum !== score) return undefined;
  return shares.toSorted((a, b) => b.level * b.weight - a.level * a.weight);
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
