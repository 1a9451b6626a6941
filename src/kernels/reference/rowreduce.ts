/** Reductions of rows, by their formulas. */
import type { RowReduction } from '../rowreduce.ts';
import { type Numbers, type Reference, reference } from './reference.ts';

export function rowReductionReference(reduction: RowReduction, rows: number, cols: number, x: Numbers): Reference {
  return reference(rows, (row) => {
    const values = Array.from({ length: cols }, (_, c) => x[row * cols + c]!);
    const add = (of: (value: number) => number) => values.reduce((total, value) => total + of(value), 0);
    const squares = add((value) => value * value);
    const size = add(Math.abs);
    switch (reduction) {
      case 'sum':
        return [add((value) => value), size];
      case 'mean':
        return [add((value) => value) / cols, size / cols];
      case 'squares':
        return [squares, squares];
      case 'max':
        return [Math.max(...values), 0];
      case 'min':
        return [Math.min(...values), 0];
      default:
        return reduction satisfies never;
    }
  });
}
