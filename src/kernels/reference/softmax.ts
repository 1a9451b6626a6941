/** Softmax of rows, by its formula. */
import { exp, log } from '../../base/math.ts';
import type { Numbers, Reference } from './reference.ts';

export interface SoftmaxProblem {
  readonly scale: number;
  readonly visible: number;
  readonly window: number;
  /** Whether row `row` may see column `col`, beside the causal mask and the window. */
  readonly sees?: (row: number, col: number) => boolean;
  /** Added to the scaled score. */
  readonly bias?: (row: number, col: number) => number;
  /** A logit of the row that only enters the denominator. */
  readonly sink?: (row: number) => number;
}

/** Every row as its weights; a row that sees nothing is 0. */
export function softmaxReference(rows: number, cols: number, x: Numbers, problem: SoftmaxProblem): Reference {
  const { scale, visible, window, sees = () => true, bias = () => 0, sink = () => -Infinity } = problem;
  const value = new Float64Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    const end = Math.min(cols, row + visible);
    const begin = Math.max(0, Math.min(end, row + visible - window));
    const seen = Array.from({ length: Math.max(0, end - begin) }, (_, i) => begin + i).filter((col) => sees(row, col));
    const score = (col: number) => scale * x[row * cols + col]! + bias(row, col);
    const top = seen.reduce((best, col) => Math.max(best, score(col)), sink(row));
    if (top === -Infinity) continue;
    const sum = seen.reduce((total, col) => total + exp(score(col) - top), exp(sink(row) - top));
    for (const col of seen) value[row * cols + col] = exp(score(col) - top) / sum;
  }
  return { value, magnitude: value };
}

/** Unmasked; the magnitude is that of the score and of the logarithm, which are subtracted. */
export function logSoftmaxReference(rows: number, cols: number, x: Numbers, scale: number): Reference {
  const value = new Float64Array(rows * cols);
  const magnitude = new Float64Array(rows * cols);
  for (let start = 0; start < rows * cols; start += cols) {
    let top = -Infinity;
    for (let c = 0; c < cols; c++) top = Math.max(top, scale * x[start + c]!);
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += exp(scale * x[start + c]! - top);
    for (let c = 0; c < cols; c++) {
      const shifted = scale * x[start + c]! - top;
      value[start + c] = shifted - log(sum);
      magnitude[start + c] = Math.abs(shifted) + log(sum) + 1;
    }
  }
  return { value, magnitude };
}
