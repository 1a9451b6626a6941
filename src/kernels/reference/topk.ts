/** The k largest elements of each row, by sorting the whole row. */
import type { Numbers, Reference } from './reference.ts';

/** Negative if `a` ranks before `b`; a NaN is above every number. */
function compare(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(b)) - Number(Number.isNaN(a));
  return a === b ? 0 : b - a;
}

export function topKReference(
  rows: number,
  cols: number,
  k: number,
  x: Numbers,
): { values: Reference; indices: number[] } {
  const indices = Array.from({ length: rows }, (_, row) => {
    const columns = Array.from({ length: cols }, (_, c) => c);
    // Sorting is stable, which is what leaves equal elements in the order of their columns.
    return columns.sort((a, b) => compare(x[row * cols + a]!, x[row * cols + b]!)).slice(0, k);
  });
  const value = Float64Array.from(indices.flatMap((columns, row) => columns.map((c) => x[row * cols + c]!)));
  return { values: { value, magnitude: new Float64Array(rows * k) }, indices: indices.flat() };
}
