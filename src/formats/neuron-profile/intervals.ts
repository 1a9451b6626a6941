/** Arithmetic on intervals of time: unions, and sums of what goes on at once. */
import type { Picoseconds } from '../../base/units.ts';

export interface Period {
  readonly start: Picoseconds;
  readonly end: Picoseconds;
}

/** The union of intervals, as intervals apart from each other in ascending order. */
export function merged(periods: readonly Period[]): Period[] {
  const union: { start: Picoseconds; end: Picoseconds }[] = [];
  for (const { start, end } of [...periods].sort((a, b) => a.start - b.start)) {
    const last = union.at(-1);
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
    else union.push({ start, end });
  }
  return union;
}

export function totalTime(periods: readonly Period[]): Picoseconds {
  return periods.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** Time during which at least one interval goes on. */
export function activeTime(periods: readonly Period[]): Picoseconds {
  return totalTime(merged(periods));
}

/**
 * The sum of the `amounts` of all intervals that go on, as steps: it has `values` from `time` on. Each interval adds its
 * amounts at its start and takes them off at its end.
 */
export function levels(
  entries: readonly (Period & { readonly amounts: readonly number[] })[],
  width: number,
): { readonly time: Picoseconds; readonly values: readonly number[] }[] {
  const changes = entries.flatMap(({ start, end, amounts }) => [
    { time: start, amounts, sign: 1 },
    { time: end, amounts, sign: -1 },
  ]);
  changes.sort((a, b) => a.time - b.time);
  const steps: { time: Picoseconds; values: number[] }[] = [];
  let values = new Array<number>(width).fill(0);
  for (const { time, amounts, sign } of changes) {
    values = values.map((value, i) => value + sign * (amounts[i] ?? 0));
    const last = steps.at(-1);
    if (last?.time === time) last.values = values;
    else steps.push({ time, values });
  }
  return steps;
}
