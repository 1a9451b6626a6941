/** Order statistics of errors. Each sorts a copy; none is defined for no values. */

function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

/**
 * The value below which a fraction `q` of the values lies, linear between neighbours (type 7 of Hyndman and Fan, 1996:
 * that of NumPy and R). `values` has at least one.
 */
export function quantile(values: readonly number[], q: number): number {
  const ordered = sorted(values);
  const position = q * (ordered.length - 1);
  const below = Math.floor(position);
  const above = Math.min(below + 1, ordered.length - 1);
  return ordered[below]! + (position - below) * (ordered[above]! - ordered[below]!);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The least value with at least half of the weight at or below it; the middle of two where the half falls between. */
export function weightedMedian(values: readonly number[], weights: readonly number[]): number {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const half = weights.reduce((sum, weight) => sum + weight, 0) / 2;
  let below = 0;
  for (let i = 0; i < order.length; i++) {
    below += weights[order[i]!]!;
    // Sums of weights such as 1/3 miss the exact half by their rounding.
    if (Math.abs(below - half) <= 1e-9 * half && i + 1 < order.length) {
      return (values[order[i]!]! + values[order[i + 1]!]!) / 2;
    }
    if (below > half) return values[order[i]!]!;
  }
  return values[order.at(-1)!]!;
}

/** Weight of each member when every group weighs 1 and its members share that. */
export function groupWeights(groups: readonly string[]): number[] {
  const sizes = new Map<string, number>();
  for (const group of groups) sizes.set(group, (sizes.get(group) ?? 0) + 1);
  return groups.map((group) => 1 / sizes.get(group)!);
}
